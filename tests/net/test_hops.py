"""Each hop that can fail, failed: its error, its hop, a hint, and no hanging."""

import asyncio
import datetime
import errno
import itertools
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator

import pytest

from mqttws import (
    AsyncClient,
    CertificateRejected,
    ConnectFailed,
    ConnectRefused,
    Hop,
    HopTimedOut,
    MqttwsError,
    NameNotResolved,
    RequestTimedOut,
    Step,
    SubprotocolRefused,
    TlsConfig,
    TlsFailed,
    Unreachable,
    UnusableFile,
    UpgradeRefused,
    UsageError,
)
from mqttws.net import tcp
from mqttws.net.target import parse_url
from mqttws.net.tcp import race, resolve
from mqttws.protocol import ConnectReceived

from ..client.broker import broker
from ..ports import free_port
from .rogue import Certificates, Handler, frame, listening, read_frame, says, silent, upgrade

numbers = itertools.count()

SHORT = 0.3
"""Seconds for a hop whose silence is what is tested."""


async def failure(
    url: str, certificates: Certificates, *, hop_timeout: float = 10.0
) -> ConnectFailed:
    """Return the error that connecting ends in; check what all of them promise."""
    steps: list[Step] = []
    client = AsyncClient(
        url,
        client_id="c",
        tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
        hop_timeout=hop_timeout,
        on_step=steps.append,
    )
    with pytest.raises(ConnectFailed) as caught:
        await client.connect()
    error = caught.value
    assert error.hint
    assert "\n" not in str(error)
    assert not client.connected
    assert steps[-1].hop is error.hop
    assert steps[-1].error is error
    assert steps[-1].outcome == type(error).__name__
    return error


async def failure_against(
    handler: Handler,
    certificates: Certificates,
    *,
    scheme: str = "wss",
    hop_timeout: float = 10.0,
) -> ConnectFailed:
    tls = certificates.server() if scheme in ("wss", "mqtts") else None
    async with listening(handler, tls) as port:
        return await failure(
            f"{scheme}://127.0.0.1:{port}/mqtt", certificates, hop_timeout=hop_timeout
        )


# Name


async def test_a_name_without_an_address_is_told(certificates: Certificates) -> None:
    error = await failure("wss://no-such-host.invalid/mqtt", certificates)
    assert type(error) is NameNotResolved
    assert error.hop is Hop.NAME
    assert "no-such-host.invalid" in str(error)


async def test_a_name_that_can_be_none_is_told(certificates: Certificates) -> None:
    error = await failure(f"wss://{'a' * 70}.example/mqtt", certificates)
    assert type(error) is NameNotResolved


async def test_a_silent_name_server_does_not_hold_up_the_time_limit(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    released = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    try:
        error = await failure("wss://slow.example/mqtt", certificates, hop_timeout=SHORT)
    finally:
        released.set()
    assert type(error) is HopTimedOut
    assert isinstance(error, TimeoutError)
    assert error.hop is Hop.NAME


async def addresses_where(
    monkeypatch: pytest.MonkeyPatch, look_up: Callable[[int], list[str]]
) -> list[str]:
    """Return what a name resolves to where ``look_up`` gives the addresses for a family."""
    name = f"{next(numbers)}.example"
    asked = {socket.AF_UNSPEC, socket.AF_INET6, socket.AF_INET}

    def getaddrinfo(host: bytes, port: int, family: int, kind: int) -> list[tuple[object, ...]]:
        if host != name.encode():
            return []  # another test's thread, which had not come so far
        asked.remove(family)  # each once
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, kind, 6, "", (address, port))
            for address in look_up(family)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with asyncio.timeout(5):
        return [address[4][0] for address in await resolve(name, 443)]


async def test_addresses_of_both_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await addresses_where(monkeypatch, lambda family: ["::1", "::2", "127.0.0.3"])
    assert found == ["::1", "127.0.0.3", "::2"]


@pytest.mark.parametrize("families", ["both", "IPv6 alone"])
async def test_an_ipv4_address_does_not_wait_for_the_answer_about_ipv6(
    monkeypatch: pytest.MonkeyPatch, families: str
) -> None:
    import threading

    released = threading.Event()

    def look_up(family: int) -> list[str]:
        if family == socket.AF_UNSPEC and families != "both":
            raise socket.gaierror(socket.EAI_AGAIN, "the question for IPv6 was refused")
        if family != socket.AF_INET:
            released.wait(30)
        return ["127.0.0.3"]

    try:
        assert await addresses_where(monkeypatch, look_up) == ["127.0.0.3"]
    finally:
        released.set()


async def test_a_slow_answer_about_both_families_is_taken_while_each_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threading

    each = threading.Barrier(3)
    released = threading.Event()

    def look_up(family: int) -> list[str]:
        each.wait(30)  # the two others have been asked
        if family != socket.AF_UNSPEC:
            released.wait(30)
        return ["127.0.0.3"]

    try:
        assert await addresses_where(monkeypatch, look_up) == ["127.0.0.3"]
    finally:
        released.set()


@pytest.mark.parametrize("comes", [True, False])
async def test_addresses_of_a_family_without_a_route_wait_for_the_others(
    monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    import threading

    considered = threading.Event()

    def look_up(family: int) -> list[str]:
        if family == socket.AF_UNSPEC:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if family == socket.AF_INET6:
            return ["2001:db8::1"]
        considered.wait(30)
        return ["127.0.0.3"] if comes else []

    def has_route(address: tcp.Address) -> bool:
        considered.set()
        return address[0] == socket.AF_INET

    monkeypatch.setattr(tcp, "has_route", has_route)
    expected = "127.0.0.3" if comes else "2001:db8::1"
    assert (await addresses_where(monkeypatch, look_up))[0] == expected


async def test_the_failure_of_a_name_is_the_one_that_tells_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up(family: int) -> list[str]:
        if family == socket.AF_INET:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(NameNotResolved, match="try again"):
        await addresses_where(monkeypatch, look_up)


# TCP


async def test_nothing_listening_is_told(certificates: Certificates) -> None:
    error = await failure(f"wss://127.0.0.1:{free_port()}/mqtt", certificates)
    assert type(error) is Unreachable
    assert error.hop is Hop.TCP
    assert "refused" in str(error)


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what else comes, as a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        yield full.getsockname()[1]


async def test_packets_that_vanish_are_told_as_silence_of_tcp(
    certificates: Certificates, full_port: int
) -> None:
    error = await failure(f"wss://127.0.0.1:{full_port}/mqtt", certificates, hop_timeout=SHORT)
    assert type(error) is HopTimedOut
    assert error.hop is Hop.TCP
    assert "firewall" in error.hint


async def test_a_dead_address_costs_no_more_than_its_head_start(full_port: int) -> None:
    async with listening(silent) as port:
        dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", full_port))
        alive = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        async with asyncio.timeout(10):
            with await race([dead, alive], "x") as connected:
                assert connected.getpeername()[1] == port


async def test_every_address_that_failed_is_named() -> None:
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, free_port()))
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1: .*refused; 127\.0\.0\.2: .*refused"):
        await race(addresses, "both")


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EAFNOSUPPORT])
async def test_a_host_without_ipv6_is_not_told_to_check_its_network(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = tcp._try_address

    async def try_address(address: tcp.Address) -> socket.socket:
        if address[0] == socket.AF_INET6:
            raise OSError(code, os.strerror(code))
        return await real(address)

    monkeypatch.setattr(tcp, "_try_address", try_address)
    addresses = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 443, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free_port())),
    ]
    with pytest.raises(Unreachable, match=rf"2001:db8::1: {os.strerror(code)}; 127") as caught:
        await race(addresses, "both")
    assert "nothing listens there" in caught.value.hint
    assert "no route" not in caught.value.hint


# TLS


async def test_a_silent_server_is_told_as_silence_of_tls(certificates: Certificates) -> None:
    async with listening(silent) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates, hop_timeout=SHORT)
    assert type(error) is HopTimedOut
    assert error.hop is Hop.TLS


async def test_http_where_tls_belongs_is_told(certificates: Certificates) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(web) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates)
    assert type(error) is TlsFailed
    assert "does not speak TLS" in error.hint


async def test_a_connection_cut_in_the_handshake_is_told(certificates: Certificates) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async with listening(cut) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates)
    assert type(error) is TlsFailed
    assert error.hop is Hop.TLS


@pytest.mark.rule("WS-14")
async def test_an_untrusted_certificate_is_told(certificates: Certificates) -> None:
    async with listening(silent, certificates.server()) as port:
        client = AsyncClient(f"wss://127.0.0.1:{port}/")  # trusts the system's CAs alone
        with pytest.raises(CertificateRejected) as caught:
            await client.connect()
    assert caught.value.hop is Hop.TLS
    assert "issuer" in caught.value.reason
    assert "--ca" in caught.value.hint


@pytest.mark.rule("WS-14")
async def test_a_certificate_for_another_name_is_told(certificates: Certificates) -> None:
    async with listening(silent, certificates.server("other.example")) as port:
        error = await failure(f"wss://localhost:{port}/", certificates)
    assert isinstance(error, CertificateRejected)
    assert "another name" in error.hint


async def test_an_expired_certificate_is_told(certificates: Certificates) -> None:
    old = certificates.server(age=datetime.timedelta(days=500))
    async with listening(silent, old) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates)
    assert isinstance(error, CertificateRejected)
    assert "expired" in error.reason
    assert "clock" in error.hint


async def test_a_certificate_of_tomorrow_is_told(certificates: Certificates) -> None:
    new = certificates.server(age=datetime.timedelta(days=-2))
    async with listening(silent, new) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates)
    assert isinstance(error, CertificateRejected)
    assert "clock is behind" in error.hint


async def test_a_server_with_tls_1_1_alone_is_refused(certificates: Certificates) -> None:
    context = certificates.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with listening(silent, context) as port:
        error = await failure(f"wss://127.0.0.1:{port}/", certificates)
    assert type(error) is TlsFailed


def test_a_ca_file_that_is_none_is_told_before_anything_is_sent(certificates: Certificates) -> None:
    for ca, error in (
        ("/nonexistent/ca.pem", UnusableFile),
        (b"not pem", UsageError),
        (b"\xff", UsageError),
    ):
        client = AsyncClient("wss://127.0.0.1:1/", tls=TlsConfig(ca=ca))
        with pytest.raises(error):
            asyncio.run(client.connect())
    with pytest.raises(UsageError):
        TlsConfig(only_ca=True).context()


def test_contexts_of_the_same_content_are_built_once(certificates: Certificates) -> None:
    by_name = TlsConfig(ca=certificates.ca_file).context()
    by_content = TlsConfig(ca=certificates.ca_file.read_bytes()).context()
    assert by_name is by_content
    assert by_name.minimum_version == ssl.TLSVersion.TLSv1_2
    assert by_name.verify_mode is ssl.CERT_REQUIRED
    assert by_name.check_hostname


# Upgrade


@pytest.mark.rule("WS-20")
@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "502 Bad"])
async def test_a_refused_upgrade_shows_the_status_and_reason(
    certificates: Certificates, status: str
) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nbody".encode()
    error = await failure_against(says(answer), certificates)
    assert isinstance(error, UpgradeRefused)
    assert f"{error.status} {error.reason}" == status
    assert status in str(error)
    assert error.hop is Hop.UPGRADE


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 403 Forbidden\r\nServer: portal\r\n\r\n",
        b"HTTP/1.0 403 Forbidden\r\nServer: portal\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nServer: portal\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
)
async def test_a_refusal_is_told_though_its_page_never_ends(
    certificates: Certificates, head: bytes
) -> None:
    error = await failure_against(says(head + b"<html", then_close=False), certificates)
    assert isinstance(error, UpgradeRefused)
    assert (error.status, error.reason) == (403, "Forbidden")


async def test_a_servers_words_cannot_write_on_the_terminal(certificates: Certificates) -> None:
    answer = b"HTTP/1.1 403 \x1b[2J\x9b2J\r\nServer: \x1b]0;x\x07\r\n\r\n"
    steps: list[Step] = []
    async with listening(says(answer, then_close=False), certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/", tls=TlsConfig(certificates.ca_file), on_step=steps.append
        )
        with pytest.raises(UpgradeRefused) as caught:
            await client.connect()
    assert steps[-1].facts["server"] == "\\x1b]0;x\\x07"
    shown = str(caught.value) + caught.value.reason + "".join(steps[-1].facts.values())
    assert shown.isprintable()


@pytest.mark.parametrize("flood", [b"X: y\r\n", b"x" * 1000])
async def test_an_answer_whose_head_never_ends_is_left(
    certificates: Certificates, flood: bytes
) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            writer.write(flood)
            sent += len(flood)
            await writer.drain()

    error = await failure_against(pour, certificates)
    assert isinstance(error, UpgradeRefused)
    assert sent < 20_000_000, "most of it waits in the sockets' buffers"


async def test_an_answer_that_is_no_http_is_told(certificates: Certificates) -> None:
    error = await failure_against(says(b"220 smtp.example ESMTP\r\n\r\n"), certificates)
    assert isinstance(error, UpgradeRefused)
    assert error.status == 0
    assert "not HTTP" in error.reason


async def test_a_connection_closed_instead_of_an_answer_is_told(certificates: Certificates) -> None:
    error = await failure_against(says(b""), certificates)
    assert isinstance(error, UpgradeRefused)
    assert "closed" in error.reason


@pytest.mark.rule("WS-21")
async def test_a_101_without_the_upgrade_headers_is_told(certificates: Certificates) -> None:
    error = await failure_against(
        says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", then_close=False), certificates
    )
    assert isinstance(error, UpgradeRefused)
    assert error.status == 101


@pytest.mark.rule("WS-22")
async def test_a_wrong_accept_key_is_told(certificates: Certificates) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer, accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    error = await failure_against(handler, certificates)
    assert isinstance(error, UpgradeRefused)
    assert "Sec-WebSocket-Accept" in error.reason


@pytest.mark.rule("WS-24", "MQTT-6.0.0-4")
async def test_a_websocket_without_the_subprotocol_is_refused(certificates: Certificates) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer, headers=())

    error = await failure_against(handler, certificates)
    assert isinstance(error, SubprotocolRefused)
    assert error.answered is None
    assert error.hop is Hop.UPGRADE


@pytest.mark.rule("WS-23")
@pytest.mark.parametrize("answered", ["amqp", "MQTT", "mqttv3.1"])
async def test_another_subprotocol_than_the_offered_one_is_refused(
    certificates: Certificates, answered: str
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer, headers=(f"Sec-WebSocket-Protocol: {answered}",))

    error = await failure_against(handler, certificates)
    assert isinstance(error, SubprotocolRefused)
    assert error.answered == answered


@pytest.mark.rule("WS-25")
async def test_an_extension_that_was_not_offered_is_refused(certificates: Certificates) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        extension = "Sec-WebSocket-Extensions: permessage-deflate"
        await upgrade(reader, writer, headers=("Sec-WebSocket-Protocol: mqtt", extension))

    error = await failure_against(handler, certificates)
    assert isinstance(error, UpgradeRefused)
    assert "extension" in error.reason


async def test_silence_after_the_request_is_told_as_silence_of_the_upgrade(
    certificates: Certificates,
) -> None:
    error = await failure_against(silent, certificates, hop_timeout=SHORT)
    assert type(error) is HopTimedOut
    assert error.hop is Hop.UPGRADE


@pytest.mark.parametrize(
    ("proxy", "hop"),
    [("http", Hop.PROXY), ("https", Hop.PROXY_TLS), ("socks5h", Hop.PROXY), ("", Hop.TLS)],
)
async def test_a_trickle_of_bytes_does_not_stretch_a_hop(
    certificates: Certificates, proxy: str, hop: Hop
) -> None:
    begun = {"http": b"HTTP/1.1 200 " + b"O" * 60, "socks5h": b"\x05\x00\x05\x00\x00\x03\xff"}
    answer = begun.get(proxy, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        for byte in answer + bytes([0x4F]) * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(trickle) as port:
        client = AsyncClient(
            "wss://127.0.0.9/" if proxy else f"wss://127.0.0.1:{port}/",
            tls=TlsConfig(certificates.ca_file),
            proxy=f"{proxy}://127.0.0.1:{port}" if proxy else None,
            hop_timeout=SHORT,
        )
        began = asyncio.get_running_loop().time()
        with pytest.raises(HopTimedOut) as caught:
            await client.connect()
        assert asyncio.get_running_loop().time() - began < 10 * SHORT
    assert caught.value.hop is hop


async def test_a_trickled_answer_does_not_stretch_the_hop(certificates: Certificates) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.01)

    error = await failure_against(trickle, certificates, hop_timeout=SHORT)
    assert error.hop is Hop.UPGRADE


# CONNECT


def after_upgrade(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        writer.write(answer)
        await silent(reader, writer)

    return handler


@pytest.mark.rule("U-14")
async def test_silence_after_connect_is_told_as_silence_of_connect(
    certificates: Certificates,
) -> None:
    async with broker(websocket=True, tls=certificates.server()) as server:
        server.mute = ConnectReceived
        error = await failure(
            f"wss://127.0.0.1:{server.port}/mqtt", certificates, hop_timeout=SHORT
        )
    assert type(error) is HopTimedOut
    assert error.hop is Hop.CONNECT


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scheme", ["wss", "mqtts"])
async def test_a_refusing_connack_is_told_with_its_code(
    certificates: Certificates, code: int, scheme: str
) -> None:
    async with broker(websocket=scheme == "wss", tls=certificates.server()) as server:
        server.refuse_with = code
        error = await failure(f"{scheme}://127.0.0.1:{server.port}/mqtt", certificates)
    assert isinstance(error, ConnectRefused)
    assert error.return_code == code
    assert error.hop is Hop.CONNECT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (frame(b"HTTP/1.1 200 OK\r\n"), "not MQTT"),
        (frame(b"\xd0\x00"), "MQTT-3.2.0-1"),
        (frame(b"hello", opcode=1), "MQTT-6.0.0-1"),
        (frame(b"\x20\x02\x00\x00", masked=True), "frame"),
        (frame(b"", opcode=3), "frame"),
        (frame((1008).to_bytes(2, "big") + b"go away", opcode=8), "1008, go away"),
    ],
    ids=["garbage", "pingresp", "text", "masked", "unknown-opcode", "close"],
)
async def test_another_answer_than_connack_is_told(
    certificates: Certificates, answer: bytes, said: str
) -> None:
    error = await failure_against(after_upgrade(answer), certificates)
    assert type(error) is ConnectFailed
    assert error.hop is Hop.CONNECT
    assert said in str(error)


async def test_the_whole_walk_has_one_time_limit(certificates: Certificates) -> None:
    async with listening(silent, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/",
            tls=TlsConfig(ca=certificates.ca_file),
            connect_timeout=SHORT,
            hop_timeout=60,
        )
        with pytest.raises(HopTimedOut):
            async with asyncio.timeout(10):
                await client.connect()


@pytest.mark.parametrize(
    "url",
    [
        "http://x/",
        "wss://",
        "wss://x:99999/",
        "wss://x/#fragment",
        "x",
        "wss://a b/",
        "wss://h/a b",
        "wss://h/\u00e4",
        "wss://h/a\r\nX: y",
        "wss://[::1",
        "wss://h:0/",
        "wss://user:secr\u2105et@host/",
        5,
        "wss://user:secret@host/",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_and_not_quoted_with_a_login(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        AsyncClient(url)
    assert "secret" not in str(caught.value)


@pytest.mark.rule("WS-12")
def test_ports_and_paths_have_their_defaults() -> None:
    assert parse_url("wss://h").address == "h:443"
    assert parse_url("ws://h").address == "h:80"
    assert parse_url("mqtts://h").address == "h:8883"
    assert parse_url("mqtt://[::1]").address == "[::1]:1883"
    assert parse_url("wss://h/a?b=c").path == "/a?b=c"
    assert parse_url("wss://h").path == "/"
    assert parse_url("wss://h:8443/$iothub/websocket").url == "wss://h:8443/$iothub/websocket"


async def test_cancelling_a_connect_leaves_nothing_open(certificates: Certificates) -> None:
    async with listening(silent, certificates.server()) as port:
        client = AsyncClient(f"wss://127.0.0.1:{port}/", tls=TlsConfig(ca=certificates.ca_file))
        for turns in range(0, 60, 3):
            task = asyncio.ensure_future(client.connect())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, MqttwsError)):
                await task
            assert not client.connected


def test_errors_of_requests_are_time_outs_too() -> None:
    assert issubclass(RequestTimedOut, TimeoutError)
    assert issubclass(HopTimedOut, TimeoutError)
