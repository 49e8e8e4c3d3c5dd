"""A registration's plan: what is refused before anything is sent, and what a process remembers."""

import ssl

import pytest

from mqttws import SymmetricKey, TlsConfig, UsageError
from mqttws.net.target import Target
from mqttws.provisioning import plan
from mqttws.provisioning.plan import Plan
from mqttws.wire import Connect

from .scripted_dps import KEY
from .test_hints import device_certificate

CREDENTIAL = SymmetricKey("Dev", KEY)


pytestmark = pytest.mark.usefixtures("nothing_known")


def made(**options: object) -> Plan:
    return Plan("0ne00", CREDENTIAL, host="dps", **options)  # type: ignore[arg-type]


def test_auto_has_ports_of_its_own() -> None:
    with pytest.raises(UsageError, match="give no port with it"):
        made(transport="auto", port=443)
    assert made(transport="wss", port=1443).targets() == [
        Target("wss", "dps", 1443, "/$iothub/websocket")
    ]
    assert [(one.scheme, one.port) for one in made(transport="auto").targets()] == [
        ("mqtts", 8883),
        ("wss", 443),
    ]


@pytest.mark.parametrize("version", ["", "a b", "2019-03-31/", "ä", 1, None])
def test_an_api_version_is_one_word(version: object) -> None:
    with pytest.raises(UsageError, match="api_version"):
        made(api_version=version)


@pytest.mark.parametrize("options", [{"host": "a b"}, {"path": "x"}, {"transport": "ws2"}])
def test_a_place_that_cannot_be_one_is_refused_at_once(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Plan("0ne00", CREDENTIAL, **options)  # type: ignore[arg-type]


def test_a_ca_that_cannot_be_read_is_refused_at_once() -> None:
    with pytest.raises(UsageError):
        made(tls=TlsConfig(ca=b"no certificate", only_ca=True))


def test_a_key_is_shown_in_connect_and_a_certificate_in_the_handshake() -> None:
    tls = TlsConfig()
    by_key = made(tls=tls)
    assert by_key.shown is tls
    assert by_key.certified is False
    by_certificate = Plan("0ne00", device_certificate()[0], host="dps")
    assert isinstance(by_certificate.shown, ssl.SSLContext)
    assert by_certificate.certified is True
    assert by_certificate.connect_packet().password is None


def test_connect_has_a_token_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.5)
    assert made(api_version="2019-03-31").connect_packet() == Connect(
        "Dev",
        "0ne00/registrations/Dev/api-version=2019-03-31",
        CREDENTIAL.password("0ne00", 1000.5).encode(),
        True,
        60,
    )


def test_auto_remembers_the_way_that_worked_by_host() -> None:
    auto, one_way = made(transport="auto"), made(transport="wss")
    one_way.note_accepted(one_way.targets()[0], in_turn=False)
    assert plan._worked == {}, "another way was not to be tried"
    auto.note_accepted(auto.targets()[1], in_turn=False)
    assert [one.scheme for one in auto.targets()] == ["wss", "mqtts"]
    elsewhere = Plan("0ne00", CREDENTIAL, host="other", transport="auto")
    assert [one.scheme for one in elsewhere.targets()] == ["mqtts", "wss"]


def test_what_is_pipelined_goes_in_turn_where_only_that_worked() -> None:
    one = made(pipelined="subscribe")
    (target,) = one.targets()
    assert one.pipelined_at(target) == "subscribe"
    one.note_accepted(target, in_turn=False)
    assert one.pipelined_at(target) == "subscribe"
    one.note_accepted(target, in_turn=True)
    assert one.pipelined_at(target) is None
    assert one.pipelined_at(Target("wss", "dps", 1443)) == "subscribe"


def test_a_host_that_has_answered_an_open_hello_is_asked_twice() -> None:
    assert made().hellos_before_cap == 1
    made().note_uncapped()
    assert made().hellos_before_cap == 2
    assert Plan("0ne00", CREDENTIAL, host="other").hellos_before_cap == 1
