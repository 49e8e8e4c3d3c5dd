"""What is said to proxies, on recorded bytes: no socket, no time."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws import Challenge, Login, ProxyRefused, UsageError
from mqttws.net.http_connect import MAX_CHALLENGES
from mqttws.net.http_head import MAX_HEAD
from mqttws.net.proxy import OnChallenge, Proxy
from mqttws.net.tunnel import Tunnel, tunnel_through

LOGIN = Login("s3cretuser", "s3cretword")


def proxy(
    scheme: str = "http", login: Login | None = None, hook: OnChallenge | None = None
) -> Proxy:
    return Proxy(scheme, "proxy.test", 3128, "argument", login, hook)


def feed(tunnel: Tunnel, data: bytes) -> None:
    """Hand bytes in one by one; every prefix must be "not yet"."""
    for position in range(len(data)):
        assert not tunnel.done
        tunnel.receive_data(data[position : position + 1])


def receive_all(tunnel: Tunnel, data: bytes) -> None:
    if data:
        tunnel.receive_data(data)
    tunnel.receive_eof()


def refusal(tunnel: Tunnel, data: bytes) -> ProxyRefused:
    tunnel.data_to_send()
    with pytest.raises(ProxyRefused) as caught:
        receive_all(tunnel, data)
    assert "s3cret" not in str(caught.value) + repr(caught.value) + caught.value.hint
    assert not tunnel.done
    return caught.value


# HTTP CONNECT

SQUID_200 = b"HTTP/1.1 200 Connection established\r\n\r\n"
TINYPROXY_200 = b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n"
SQUID_407 = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\nMime-Version: 1.0\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/html;charset=utf-8\r\n"
    b"Content-Length: 5\r\nX-Squid-Error: ERR_CACHE_ACCESS_DENIED 0\r\n"
    b'Proxy-Authenticate: Basic realm="proxy"\r\nVia: 1.1 box (squid/5.7)\r\n'
    b"Connection: keep-alive\r\n\r\nhello"
)


def test_connect_asks_for_host_and_port_in_one_message() -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    assert tunnel.data_to_send() == (
        b"CONNECT dps.test:443 HTTP/1.1\r\nHost: dps.test:443\r\nUser-Agent: mqttws\r\n"
        b"Proxy-Connection: keep-alive\r\n\r\n"
    )
    assert tunnel.data_to_send() == b""


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("2001:db8::1", b"[2001:db8::1]:443"),
        ("192.0.2.1", b"192.0.2.1:443"),
        ("bücher.test", b"xn--bcher-kva.test:443"),
    ],
)
def test_connect_writes_addresses_and_names_as_rfc_9110_has_them(
    host: str, authority: bytes
) -> None:
    sent = tunnel_through(proxy(), host, 443).data_to_send()
    assert sent.startswith(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n")


@pytest.mark.parametrize("host", ["a b", "a\r\nX: y", "", "a" * 256, "\x00", "." * 300 + "ü"])
@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
def test_a_host_that_is_no_name_is_never_sent(scheme: str, host: str) -> None:
    with pytest.raises(UsageError):
        tunnel_through(proxy(scheme), host, 443)


def test_basic_goes_with_the_first_request() -> None:
    sent = tunnel_through(proxy(login=Login("Aladdin", "open sesame")), "a.test", 1).data_to_send()
    # the example of RFC 7617 section 2
    assert b"\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in sent


@pytest.mark.parametrize(
    "answer", [SQUID_200, TINYPROXY_200, b"HTTP/1.1 200\r\n\r\n", b"HTTP/1.1 204 x\n\n"]
)
def test_any_2xx_lets_us_through(answer: bytes) -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    feed(tunnel, answer)
    assert tunnel.done


def test_informational_answers_are_passed_over() -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    feed(tunnel, b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + SQUID_200)
    assert tunnel.done


def test_what_the_proxy_tells_of_itself_is_noted() -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    feed(tunnel, TINYPROXY_200)
    assert tunnel.facts == {
        "status": "200 Connection established",
        "proxy-agent": "tinyproxy/1.11.1",
    }


REFUSALS = [
    (403, b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n\r\n", "forbids"),
    (503, b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "cannot reach the server"),
    (504, b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "no answer from the server"),
    (405, b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", "does not do CONNECT"),
    (302, b"HTTP/1.1 302 Found\r\nLocation: http://portal.test/\r\n\r\n", "a page of its own"),
    (407, SQUID_407, "wants a login"),
    (401, b"HTTP/1.0 401 Unauthorized\r\n\r\n", "wants a login"),
]


@pytest.mark.parametrize(("status", "answer", "hint"), REFUSALS)
def test_a_refusal_says_what_the_proxy_said_and_what_to_do(
    status: int, answer: bytes, hint: str
) -> None:
    error = refusal(tunnel_through(proxy(), "dps.test", 443), answer)
    assert error.status == status
    assert f"HTTP {status}" in str(error)
    assert hint in error.hint


def test_the_challenge_is_handed_on() -> None:
    error = refusal(tunnel_through(proxy(), "dps.test", 443), SQUID_407)
    assert error.challenge == ('Basic realm="proxy"',)


@pytest.mark.parametrize("status", [401, 407])
def test_a_wrong_login_is_called_so(status: int) -> None:
    answer = b"HTTP/1.0 %d No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n" % status
    error = refusal(tunnel_through(proxy(login=LOGIN), "dps.test", 443), answer)
    assert "does not accept this login" in error.hint


def test_a_proxy_that_wants_something_else_than_basic_says_what() -> None:
    answer = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
    error = refusal(tunnel_through(proxy(login=LOGIN), "dps.test", 443), answer)
    assert "Negotiate, NTLM" in error.hint
    assert "cntlm" in error.hint


@pytest.mark.parametrize(
    ("answer", "found", "hint"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "not HTTP", "https://"),
        (b"\x05\xff", "not HTTP", "socks5h://"),
        (b"SSH-2.0-x\r\n", "not HTTP", "an HTTP proxy"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP/1.x", "an HTTP proxy"),
        (b"HTTP/1.1 99 No\r\n\r\n", "not HTTP/1.x", "an HTTP proxy"),
        (b"HTTP/1.1 20", "closed the connection", "an HTTP proxy"),
        (b"", "closed the connection", "an HTTP proxy"),
        (SQUID_200 + b"x", "unexpected data after", ""),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, found: str, hint: str) -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    with pytest.raises(ProxyRefused) as caught:
        receive_all(tunnel, answer)
    assert found in str(caught.value)
    assert hint in caught.value.hint


def test_a_head_without_end_is_not_awaited_for_ever() -> None:
    tunnel = tunnel_through(proxy(), "dps.test", 443)
    with pytest.raises(ProxyRefused):
        tunnel.receive_data(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD)


def test_a_proxys_words_cannot_write_on_the_terminal() -> None:
    error = refusal(tunnel_through(proxy(), "dps.test", 443), b"HTTP/1.1 403 \x1b[2J\x07\r\n\r\n")
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)


# A hook for other logins


def three_legs(challenge: Challenge) -> str | None:
    challenge.memory["seen"] = [*challenge.memory.get("seen", []), challenge.offers[0]]
    return {"NTLM": "NTLM one", "NTLM challenge": "NTLM two"}.get(challenge.offers[0])


def demand(offer: str, body: bytes = b"<p>no</p>", *headers: str) -> bytes:
    lines = ["HTTP/1.1 407 No", f"Proxy-Authenticate: {offer}", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<p>no</p>", ()),
        (b"", ()),
        (b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", ("Transfer-Encoding: chunked",)),
        (b"0\r\nTrailer: x\r\n\r\n", ("Transfer-Encoding: chunked",)),
    ],
)
def test_a_hook_answers_again_and_again_on_the_same_connection(
    body: bytes, headers: tuple[str, ...]
) -> None:
    tunnel = tunnel_through(proxy(hook=three_legs), "dps.test", 443)
    assert b"Proxy-Authorization" not in tunnel.data_to_send()
    for offer, answer in (("NTLM", b"NTLM one"), ("NTLM challenge", b"NTLM two")):
        feed(tunnel, demand(offer, body, *headers))
        assert not tunnel.reconnect
        assert b"\r\nProxy-Authorization: " + answer + b"\r\n" in tunnel.data_to_send()
    feed(tunnel, SQUID_200)
    assert tunnel.done


@pytest.mark.parametrize(
    "answer",
    [
        demand("NTLM", b"", "Connection: close"),
        demand("NTLM", b"", "Proxy-Connection: close"),
        demand("NTLM").replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\nuntil the end",
    ],
)
def test_where_a_proxy_closes_after_its_demand_the_answer_goes_over_a_new_connection(
    answer: bytes,
) -> None:
    tunnel = tunnel_through(proxy(hook=three_legs), "dps.test", 443)
    tunnel.data_to_send()
    tunnel.receive_data(answer)
    assert tunnel.reconnect
    tunnel.receive_eof()
    tunnel.restart()
    assert not tunnel.reconnect
    assert b"NTLM one" in tunnel.data_to_send()
    feed(tunnel, SQUID_200)
    assert tunnel.done


def test_a_proxy_that_closes_within_its_page_gets_the_answer_over_a_new_connection() -> None:
    tunnel = tunnel_through(proxy(hook=three_legs), "dps.test", 443)
    tunnel.data_to_send()
    tunnel.receive_data(demand("NTLM", b"<p>no</p>")[:-3])
    tunnel.receive_eof()
    assert tunnel.reconnect
    tunnel.restart()
    assert b"NTLM one" in tunnel.data_to_send()


def test_a_length_of_thousands_of_digits_is_none() -> None:
    tunnel = tunnel_through(proxy(hook=three_legs), "dps.test", 443)
    tunnel.receive_data(demand("NTLM", b"", "Content-Length: " + "9" * 5000))
    assert tunnel.reconnect


def test_a_hook_sees_what_it_needs_and_keeps_what_it_wants() -> None:
    seen: list[Challenge] = []

    def hook(challenge: Challenge) -> str:
        seen.append(challenge)
        challenge.memory["count"] = challenge.memory.get("count", 0) + 1
        return "Digest x"

    tunnel = tunnel_through(proxy(login=LOGIN, hook=hook), "dps.test", 443)
    feed(tunnel, demand("Digest realm=a"))
    feed(tunnel, demand("Digest realm=b"))
    assert [(one.attempt, one.offers, one.status) for one in seen] == [
        (1, ("Digest realm=a",), 407),
        (2, ("Digest realm=b",), 407),
    ]
    assert seen[0].target == "dps.test:443"
    assert seen[0].proxy == "http://proxy.test:3128"
    assert seen[1].memory == {"count": 2}


def test_a_hook_sees_a_long_ticket_whole_and_an_error_shows_its_beginning() -> None:
    ticket = "Negotiate " + "A" * 12_000
    seen: list[str] = []

    def hook(challenge: Challenge) -> str | None:
        seen.append(challenge.offers[0])
        return None

    error = refusal(tunnel_through(proxy(hook=hook), "dps.test", 443), demand(ticket))
    assert seen == [ticket]
    assert len(error.challenge[0]) == 500


def test_a_hook_that_gives_up_leaves_the_proxys_refusal() -> None:
    error = refusal(
        tunnel_through(proxy(hook=lambda challenge: None), "dps.test", 443), demand("NTLM")
    )
    assert error.status == 407


def test_a_proxy_that_is_never_content_is_left_after_a_while() -> None:
    tunnel = tunnel_through(proxy(hook=lambda challenge: "x"), "dps.test", 443)
    for _ in range(MAX_CHALLENGES):
        tunnel.receive_data(demand("NTLM"))
    with pytest.raises(ProxyRefused):
        tunnel.receive_data(demand("NTLM"))


@pytest.mark.parametrize("answer", ["a\r\nX: y", "ü", "a\x00", b"NTLM one", 1])
def test_a_hook_cannot_write_other_headers(answer: Any) -> None:
    tunnel = tunnel_through(proxy(hook=lambda challenge: answer), "dps.test", 443)
    with pytest.raises(UsageError):
        tunnel.receive_data(demand("NTLM"))


# SOCKS5 (RFC 1928), written out byte by byte

NO_LOGIN_GREETING = b"\x05\x01\x00"  # version 5, one method: none
GREETING = b"\x05\x02\x00\x02"  # version 5, two methods: none, user name and password
GRANTED_4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"
GRANTED_6 = b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x04\x38"
GRANTED_NAME = b"\x05\x00\x00\x03\x02ab\x04\x38"


@pytest.mark.parametrize("reply", [GRANTED_4, GRANTED_6, GRANTED_NAME])
def test_socks5h_hands_over_the_name(reply: bytes) -> None:
    tunnel = tunnel_through(proxy("socks5h"), "dps.test", 443)
    assert tunnel.data_to_send() == NO_LOGIN_GREETING
    feed(tunnel, b"\x05\x00")
    assert tunnel.data_to_send() == b"\x05\x01\x00\x03\x08dps.test\x01\xbb"
    feed(tunnel, reply)
    assert tunnel.done


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
    ],
)
def test_socks5_hands_over_the_address(address: str, written: bytes) -> None:
    tunnel = tunnel_through(proxy("socks5"), "dps.test", 443, address)
    tunnel.data_to_send()
    tunnel.receive_data(b"\x05\x00")
    assert tunnel.data_to_send() == b"\x05\x01\x00" + written + b"\x01\xbb"


def test_socks5_logs_in_when_it_is_asked_to() -> None:
    tunnel = tunnel_through(proxy("socks5h", Login("user", "word")), "dps.test", 443)
    assert tunnel.data_to_send() == GREETING
    feed(tunnel, b"\x05\x02")
    assert tunnel.data_to_send() == b"\x01\x04user\x04word"  # RFC 1929 section 2
    feed(tunnel, b"\x01\x00")
    assert tunnel.data_to_send().startswith(b"\x05\x01\x00\x03")
    feed(tunnel, GRANTED_4)
    assert tunnel.done


@pytest.mark.parametrize(
    ("scheme", "login", "answers", "expected"),
    [
        (
            "socks5h",
            None,
            b"\x05\xff",
            (0xFF, "none of the offered", "wants a login"),
        ),
        (
            "socks5h",
            None,
            b"\x05\x02",
            (0xFF, "none of the offered", "wants a login"),
        ),
        (
            "socks5h",
            LOGIN,
            b"\x05\x02\x01\x01",
            (0xFF, "refused the login", "not accept this login"),
        ),
        ("socks5h", None, b"\x05\x00\x05\x02", (2, "not allowed", "forbids this host or port")),
        ("socks5h", None, b"\x05\x00\x05\x04\x00\x01", (4, "host unreachable", "firewall behind")),
        ("socks5h", None, b"\x05\x00\x05\x63" + bytes(8), (99, "unknown reply", "proxy's log")),
        ("socks5h", None, b"HTTP/1.1 400", (0, "not SOCKS5", "http://")),
        ("socks5h", None, b"\x00\x5b", (0, "not SOCKS5", "socks4a://")),
        ("socks5h", None, b"\x05\x00\x05\x00\x00\x09\x00", (0, "not SOCKS5", "SOCKS proxy")),
        (
            "socks5h",
            None,
            b"\x05\x00" + GRANTED_4[:-1],
            (0, "closed the connection", "this client"),
        ),
        ("socks5h", None, b"", (0, "closed the connection", "this client")),
        ("socks4a", None, b"\x00\x5b" + bytes(6), (91, "rejected", "forbids this host")),
        ("socks4a", None, b"\x00\x5d" + bytes(6), (93, "identd", "SOCKS5")),
        ("socks4a", None, b"HTTP/1.1 400", (0, "not SOCKS4", "http://")),
        ("socks4a", None, b"\x00\x5a", (0, "closed the connection", "this client")),
    ],
)
def test_a_socks_refusal_says_why(
    scheme: str, login: Login | None, answers: bytes, expected: tuple[int, str, str]
) -> None:
    status, found, hint = expected
    error = refusal(tunnel_through(proxy(scheme, login), "dps.test", 443), answers)
    assert error.status == status
    assert found in str(error)
    assert hint in error.hint


def test_bytes_behind_a_socks_reply_are_refused() -> None:
    tunnel = tunnel_through(proxy("socks5h"), "dps.test", 443)
    tunnel.receive_data(b"\x05\x00")
    with pytest.raises(ProxyRefused, match="unexpected data after"):
        tunnel.receive_data(GRANTED_4 + b"x")


# SOCKS4a


@pytest.mark.parametrize(
    ("host", "login", "request_bytes"),
    [
        ("dps.test", None, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00dps.test\x00"),
        ("dps.test", Login("me", ""), b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00dps.test\x00"),
        ("192.0.2.1", None, b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00"),
    ],
)
def test_socks4a_hands_over_the_name(host: str, login: Login | None, request_bytes: bytes) -> None:
    tunnel = tunnel_through(proxy("socks4a", login), host, 443)
    assert tunnel.data_to_send() == request_bytes
    feed(tunnel, b"\x00\x5a" + bytes(6))
    assert tunnel.done


# Whatever comes


@given(
    st.sampled_from(["http", "socks5h", "socks4a"]),
    st.booleans(),
    st.sampled_from([b"", b"HTTP/1.1 407 x\r\n", b"\x05\x00\x05\x00", b"\x00"]),
    st.binary(max_size=200),
    st.integers(1, 50),
)
def test_any_bytes_let_through_wait_or_are_refused_and_nothing_else(
    scheme: str, hooked: bool, prefix: bytes, rest: bytes, size: int
) -> None:
    tunnel = tunnel_through(
        proxy(scheme, LOGIN, (lambda challenge: "x") if hooked else None), "dps.test", 443
    )
    data = prefix + rest
    try:
        for start in range(0, len(data), size):
            tunnel.data_to_send()
            if tunnel.done or tunnel.reconnect:
                return
            tunnel.receive_data(data[start : start + size])
    except ProxyRefused as error:
        shown = str(error)
        assert "s3cret" not in shown


def test_no_talk_shows_its_login() -> None:
    for scheme in ("http", "https", "socks5", "socks4a"):
        tunnel = tunnel_through(proxy(scheme, LOGIN), "dps.test", 443)
        shown = repr(tunnel) + tunnel.request + repr(tunnel.facts)
        assert "s3cret" not in shown
        assert b64encode(b"s3cretuser:s3cretword").decode() not in shown
