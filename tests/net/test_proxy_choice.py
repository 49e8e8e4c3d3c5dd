"""Which proxy leads where: arguments, variables, exceptions, and that no login is ever shown."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from mqttws import ProxyConfig, TlsConfig, UsageError
from mqttws.net.proxy import ENVIRONMENT, Login, choose_proxy

# variables, the server's scheme, host and port, the proxy that is chosen
CHOICES = [
    ("none set", {}, "wss", "example.com", 443, None),
    ("https_proxy", {"https_proxy": "http://p:1"}, "wss", "example.com", 443, "http://p:1"),
    ("upper case", {"HTTPS_PROXY": "http://p:1"}, "wss", "example.com", 443, "http://p:1"),
    (
        "lower case first",
        {"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"},
        "wss",
        "example.com",
        443,
        "http://lower:1",
    ),
    (
        "wss_proxy before https_proxy",
        {"https_proxy": "http://h:1", "WSS_PROXY": "http://w:1"},
        "wss",
        "example.com",
        443,
        "http://w:1",
    ),
    (
        "https_proxy before all_proxy",
        {"all_proxy": "socks5://a:1", "HTTPS_PROXY": "http://h:1"},
        "wss",
        "example.com",
        443,
        "http://h:1",
    ),
    ("all_proxy", {"ALL_PROXY": "socks5h://a"}, "wss", "example.com", 443, "socks5h://a:1080"),
    ("empty is unset", {"https_proxy": "", "all_proxy": "a:1"}, "wss", "e", 443, "http://a:1"),
    (
        "own variable first",
        {"wss_proxy": "http://w:1", "MQTTWS_PROXY": "https://own"},
        "wss",
        "example.com",
        443,
        "https://own:443",
    ),
    ("own variable off", {"wss_proxy": "http://w:1", "MQTTWS_PROXY": "none"}, "wss", "e", 1, None),
    ("mqtts too", {"https_proxy": "http://p:1"}, "mqtts", "example.com", 8883, "http://p:1"),
    ("wss_proxy is not for mqtts", {"wss_proxy": "http://p:1"}, "mqtts", "e", 8883, None),
    ("ws by http_proxy", {"http_proxy": "http://p:1"}, "ws", "example.com", 80, "http://p:1"),
    ("HTTP_PROXY", {"HTTP_PROXY": "http://p:1"}, "ws", "example.com", 80, "http://p:1"),
    (
        "HTTP_PROXY of a CGI visitor",
        {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"},
        "ws",
        "example.com",
        80,
        None,
    ),
    (
        "IPv6 proxy",
        {"https_proxy": "http://[fd00::1]:3128"},
        "wss",
        "e",
        1,
        "http://[fd00::1]:3128",
    ),
    ("localhost", {"https_proxy": "http://p:1"}, "wss", "localhost", 443, None),
    ("loopback", {"https_proxy": "http://p:1"}, "wss", "127.0.0.9", 443, None),
    ("loopback 6", {"https_proxy": "http://p:1"}, "wss", "::1", 443, None),
]


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "port", "expected"),
    [row[1:] for row in CHOICES],
    ids=[row[0] for row in CHOICES],
)
def test_the_environment_names_the_proxy(
    environ: dict[str, str], scheme: str, host: str, port: int, expected: str | None
) -> None:
    chosen = choose_proxy(ENVIRONMENT, scheme, host, port, environ)
    assert (chosen and chosen.url) == expected


# no_proxy, the server's host and port, whether it is reached without a proxy
EXEMPTIONS = [
    ("", "example.com", 443, False),
    ("*", "example.com", 443, True),
    ("other, *", "example.com", 443, True),
    ("example.com", "example.com", 443, True),
    ("example.com", "EXAMPLE.com.", 443, True),
    ("example.com", "dps.example.com", 443, True),
    ("example.com", "badexample.com", 443, False),
    (".example.com", "dps.example.com", 443, True),
    (".example.com", "example.com", 443, True),
    (".example.com", "badexample.com", 443, False),
    ("*.example.com", "dps.example.com", 443, True),
    ("EXAMPLE.COM", "dps.example.com", 443, True),
    ("a.test b.test", "b.test", 443, True),
    ("a.test,,b.test", "b.test", 443, True),
    (",", "example.com", 443, False),
    (".", "example.com", 443, False),
    ("*:443", "example.com", 443, True),
    ("*:443", "2001:db8::1", 443, True),
    ("*:443", "example.com", 8883, False),
    ("example.com:443", "example.com", 443, True),
    ("example.com:443", "example.com", 8883, False),
    (".example.com:8883", "dps.example.com", 8883, True),
    ("192.0.2.7", "192.0.2.7", 443, True),
    ("192.0.2.7", "192.0.2.70", 443, False),
    ("192.0.2.7:443", "192.0.2.7", 443, True),
    ("192.0.2.7:443", "192.0.2.7", 8883, False),
    ("192.0.2.0/24", "192.0.2.200", 443, True),
    ("192.0.2.0/24", "192.0.3.1", 443, False),
    ("192.0.2.9/24", "192.0.2.200", 443, True),
    ("10.0.0.0/8", "10.example.com", 443, False),
    ("192.0.2.7", "::ffff:192.0.2.7", 443, True),
    ("2001:db8::1", "2001:db8::1", 443, True),
    ("2001:db8::1", "2001:db8:0:0::1", 443, True),
    ("[2001:db8::1]", "2001:db8::1", 443, True),
    ("[2001:db8::1]:443", "2001:db8::1", 443, True),
    ("[2001:db8::1]:443", "2001:db8::1", 8883, False),
    ("2001:db8::/32", "2001:db8:ffff::1", 443, True),
    ("2001:db8::/32", "2001:db9::1", 443, False),
    ("0.0.0.0/0", "2001:db8::1", 443, False),
    ("0.0.0.0/0", "example.com", 443, False),
]


@pytest.mark.parametrize(("rules", "host", "port", "exempt"), EXEMPTIONS)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy_names_who_is_reached_directly(
    variable: str, rules: str, host: str, port: int, exempt: bool
) -> None:
    environ = {"https_proxy": "http://proxy:3128", variable: rules}
    assert (choose_proxy(ENVIRONMENT, "wss", host, port, environ) is None) == exempt


def test_an_argument_counts_before_the_environment_and_its_exceptions() -> None:
    environ = {"wss_proxy": "http://env:1", "MQTTWS_PROXY": "http://own:1", "no_proxy": "*"}
    chosen = choose_proxy("http://argument:1", "wss", "example.com", 443, environ)
    assert chosen is not None
    assert (chosen.url, chosen.source) == ("http://argument:1", "argument")


@pytest.mark.parametrize("choice", [None, "none", "NONE", ProxyConfig(None), ProxyConfig("none")])
def test_proxies_can_be_switched_off(choice: ProxyConfig | str | None) -> None:
    environ = {"wss_proxy": "http://env:1", "MQTTWS_PROXY": "http://own:1"}
    assert choose_proxy(choice, "wss", "example.com", 443, environ) is None


def test_a_login_comes_from_the_url_then_from_our_variable_then_from_the_callable() -> None:
    asked: list[str] = []

    def ask(url: str) -> tuple[str, str]:
        asked.append(url)
        return "callable", "c"

    def login(url: str, own: str = "") -> Login | None:
        chosen = choose_proxy(ProxyConfig(url, ask), "wss", "e.test", 1, {"MQTTWS_PROXY": own})
        assert chosen is not None
        return chosen.login

    own = "http://variable:v@p:3128"
    assert login("http://ur%6c:%40%3a%2F@p:3128", own) == Login("url", "@:/")
    assert login("http://p:3128", own) == Login("variable", "v")
    assert asked == []
    assert login("http://other:3128", own) == Login("callable", "c")
    assert asked == ["http://other:3128"]


LOGIN_URL = "http://s3cretuser:s3cretword@proxy.test:3128"


def test_whatever_shows_a_proxy_shows_no_login() -> None:
    chosen = choose_proxy(LOGIN_URL, "wss", "example.com", 443, {})
    assert chosen is not None
    shown = [
        repr(chosen),
        str(chosen),
        chosen.url,
        repr(chosen.login),
        repr(ProxyConfig(LOGIN_URL)),
    ]
    assert "s3cret" not in "".join(shown)
    assert chosen.url == "http://proxy.test:3128"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://s3cret:s3cret@p:1",
        "http://s3cret:s3cret@",
        "http://s3cret:s3cret@p:99999",
        "http://s3cret:s3cret@p:port",
        "http://s3cret:s3/cret@p:1",
        "http://s3cret:s3#cret@p:1",
        "http://s3cret:s3?cret@p:1",
        "http://s3cret:a%0d%0ab@p:1",
        "http://s3%3Acret:s3cret@p:1",
        "http://[s3cret:s3cret@p:1",
        "socks5://s3cret:" + "s3cret" * 50 + "@p:1",
        "socks5://s3cret@p:1",
    ],
)
@pytest.mark.parametrize("source", ["argument", "https_proxy"])
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str, source: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_proxy(
            url if source == "argument" else ENVIRONMENT, "wss", "e.test", 1, {"https_proxy": url}
        )
    assert "s3" not in str(caught.value) + repr(caught.value) + caught.value.hint
    assert source in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "what is only suppressed is there for who looks"


@pytest.mark.parametrize("told", ["user:s3cret", ("s3cret",), ("s3cret", None), (b"a", b"b"), 5])
def test_a_callable_that_returns_no_login_is_told_so(told: object) -> None:
    with pytest.raises(UsageError, match="function of login= returned") as caught:
        choose_proxy(ProxyConfig("http://p:1", lambda url: told), "wss", "e.test", 1, {})
    assert "s3cret" not in str(caught.value)


HOLDERS = [
    ProxyConfig("http://user:s3cret@proxy.test:3128"),
    Login("user", "s3cret"),
    TlsConfig(certificate="c.pem", key="k.pem", key_password="s3cret"),
    TlsConfig(certificate=b"s3cret", key=b"s3cret"),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_what_holds_a_secret_is_neither_pickled_nor_shown_nor_made_a_dict_of(holder: Any) -> None:
    for expose in (pickle.dumps, dataclasses.asdict, dataclasses.astuple):
        with pytest.raises(TypeError, match="secret"):
            expose(holder)
    assert "s3cret" not in repr(holder)
    assert copy.deepcopy({"a": holder}) == {"a": holder}
    assert dataclasses.replace(holder) == holder


def test_what_holds_none_is_an_ordinary_value() -> None:
    for plain in (ProxyConfig("http://proxy.test:3128"), TlsConfig(ca="ca.pem")):
        assert pickle.loads(pickle.dumps(plain)) == plain
        assert dataclasses.asdict(plain)


@pytest.mark.parametrize(
    "url",
    [
        *("http://p:0", "http://a b:1", "http://p%20q:1", "http://*:1", "http://p;q", "direct"),
        *("OFF", "no", "false", "http://", "http://:3128", "http://p:x", "http://p:99999", "//p:1"),
        *("http://p\x7f:1", "ftp://p", "socks://p"),
    ],
)
def test_an_odd_url_is_refused_and_not_taken_for_a_proxy(url: str) -> None:
    with pytest.raises(UsageError, match=r"the proxy's URL \(argument\) cannot be used"):
        choose_proxy(url, "wss", "h.example", 443, {})


@pytest.mark.parametrize("word", ["none", "NONE", "None"])
def test_none_in_any_case_is_no_proxy(word: str) -> None:
    assert choose_proxy(word, "wss", "h.example", 443, {"https_proxy": "http://p:1"}) is None


@pytest.mark.parametrize("word", ["environment", "Environment", "ENVIRONMENT"])
def test_environment_in_any_case_leaves_it_to_the_variables(word: str) -> None:
    chosen = choose_proxy(word, "wss", "h.example", 443, {"https_proxy": "http://p:1"})
    assert str(chosen) == "http://p:1"
    assert choose_proxy(word, "wss", "h.example", 443, {}) is None
