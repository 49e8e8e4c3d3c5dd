"""Host names: IDNA 2008 as the registry's library has it, dots at the end, ports pasted in."""

import importlib.util

import pytest

from mqttws import UsageError
from mqttws.net.names import ascii_name, is_public_service
from mqttws.net.no_proxy import is_exempt
from mqttws.net.target import make_target, parse_url

from ..conftest import peer_missing

NAMES = [
    "straße.test",
    "STRASSE.test",
    "Bücher.example",
    "BÜCHER.example",
    "faß.de",
    "βόλος.com",
    "ΒΌΛΟΣ.com",
    "日本語.jp",
    "日本語。jp",
    "пример.испытание",
    "مثال.إختبار",
    "क्\u200dष.com",
    "ｆｕｌｌ.example",  # noqa: RUF001
    "ökonom-ie.test",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_what_browsers_and_curl_ask_for(name: str) -> None:
    if importlib.util.find_spec("idna") is None:
        peer_missing("idna is not installed")
    import idna

    assert ascii_name(name) == idna.encode(name, uts46=True, transitional=False).decode()


def test_an_ascii_name_is_only_made_lower_case() -> None:
    assert ascii_name("Host_1.Example.") == "host_1.example."


@pytest.mark.parametrize("name", ["a§b.test", "ü b.test", "ü" * 70 + ".test", "ü/x.test"])
def test_what_no_name_may_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name"):
        ascii_name(name)


def test_a_dot_at_the_end_is_for_the_name_server_alone() -> None:
    target = make_target("wss", "dps.test.", None)
    assert (target.host, target.server_name) == ("dps.test.", "dps.test")


def test_a_port_that_was_pasted_into_the_host_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        make_target("wss", "dps.test:443", None)
    assert "--port 443" in caught.value.hint
    assert make_target("wss", "::1", None).host == "::1"


def test_a_url_may_have_an_umlaut() -> None:
    assert parse_url("wss://straße.test/x").host == "xn--strae-oqa.test"


@pytest.mark.parametrize(
    "rule", ["straße.test", "xn--strae-oqa.test", ".straße.test", "STRAßE.test"]
)
def test_no_proxy_may_have_either_form(rule: str) -> None:
    for host in ("straße.test", "xn--strae-oqa.test", "a.straße.test"):
        assert is_exempt(host, 443, {"no_proxy": rule})
    assert not is_exempt("strasse.test", 443, {"no_proxy": rule})


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("global.azure-devices-provisioning.net", True),
        ("GLOBAL.azure-devices-provisioning.net.", True),
        ("my-hub.azure-devices.net", True),
        ("azure-devices.net.evil.example", False),
        ("notazure-devices.net", False),
        ("localhost", False),
    ],
)
def test_public_services_are_known_by_their_domain(host: str, public: bool) -> None:
    assert is_public_service(host) is public
