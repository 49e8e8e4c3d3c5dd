"""Fuzz targets of the way through the network: proxies, upgrades, URLs, certificates."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from .target import Check, Target, pieces, text_of

SECRET = "Hidden-7"
"""A password that no message may show."""


def load_connect() -> Check:
    """Return the check of the dialogue with an HTTP proxy."""
    from mqttws.errors import ProxyRefused
    from mqttws.net.http_connect import HttpConnect
    from mqttws.net.http_head import body_length, parse_head
    from mqttws.net.proxy import Challenge, Login, Proxy

    def answer(challenge: Challenge) -> str | None:
        return "Negotiate YII=" if len(challenge.offers) % 2 else None

    proxies = (
        Proxy("http", "proxy", 3128, "argument", Login("user", SECRET)),
        Proxy("http", "proxy", 3128, "argument", on_challenge=answer),
    )

    def outcome(proxy: Proxy, cut: list[bytes]) -> str:
        dialogue = HttpConnect(proxy, "hub.example", 443)
        sent = dialogue.data_to_send()
        try:
            for piece in cut:
                dialogue.receive_data(piece)
                sent += dialogue.data_to_send()
                if dialogue.done:
                    return f"done {dialogue.facts}"
                if dialogue.reconnect:
                    return f"again {sent!r}"
            dialogue.receive_eof()
        except ProxyRefused as error:
            shown = f"{error} {error.hint} {error!r} {dialogue.facts}"
            assert SECRET not in shown
            assert shown.isprintable()
            return f"refused {error.status}"
        return f"after the end {sent!r}"

    def check(data: bytes) -> None:
        for proxy in proxies:
            outcome(proxy, [data])
            outcome(proxy, pieces(data))
        head = parse_head(data)
        if head is not None:
            assert head.length <= len(data)
            size = body_length(head, bytearray(data))
            assert size is None or head.length + size <= len(data)
            for end in range(0, len(data), 7):  # an end that was seen stays where it is
                sooner = parse_head(data[:end])
                assert sooner is None or sooner == head

    return check


def load_socks() -> Check:
    """Return the check of the dialogue with a SOCKS proxy."""
    from mqttws.errors import ProxyRefused
    from mqttws.net.proxy import Login, Proxy
    from mqttws.net.socks import Socks4aConnect, Socks5Connect

    login = Login("user", SECRET)
    kinds = (
        (Socks5Connect, Proxy("socks5h", "proxy", 1080, "argument", login)),
        (Socks5Connect, Proxy("socks5", "proxy", 1080, "argument")),
        (Socks4aConnect, Proxy("socks4a", "proxy", 1080, "argument")),
    )

    def outcome(kind: Any, proxy: Proxy, cut: list[bytes]) -> str:
        host = "192.0.2.7" if proxy.resolves_here else "hub.example"
        dialogue = kind(proxy, host, 443)
        sent = dialogue.data_to_send()
        try:
            for piece in cut:
                dialogue.receive_data(piece)
                sent += dialogue.data_to_send()
                if dialogue.done:
                    return f"done {dialogue.facts} {sent!r}"
            dialogue.receive_eof()
        except ProxyRefused as error:
            shown = f"{error} {error.hint} {error!r} {dialogue.facts}"
            assert SECRET not in shown
            assert shown.isprintable()
            return f"{error} {error.cause}"
        raise AssertionError("the end of the stream is an error")

    def check(data: bytes) -> None:
        for kind, proxy in kinds:
            whole = outcome(kind, proxy, [data])
            bytewise = outcome(kind, proxy, [data[at : at + 1] for at in range(len(data))])
            # What is wrong with an answer is said as soon as it can be; more may have come by then.
            assert whole == bytewise or "unexpected data after" in whole, (whole, bytewise)
            outcome(kind, proxy, pieces(data))

    return check


class Wire:
    """A stream that gives what it was made of, and then its end."""

    def __init__(self, incoming: list[bytes]) -> None:
        self.incoming = [piece for piece in incoming if piece]
        self.sent = b""

    async def read(self) -> bytes:
        """Return the next piece; empty at the end."""
        return self.incoming.pop(0) if self.incoming else b""

    async def read_until(self, until: float) -> bytes:
        """Return the next piece."""
        return await self.read()

    def write(self, data: bytes) -> None:
        """Keep what was sent."""
        self.sent += data


def ended(coroutine: Any) -> Any:
    """Run a coroutine that never waits."""
    asyncio._set_running_loop(
        cast(Any, SimpleNamespace(time=lambda: 0.0, create_future=lambda: None))
    )
    try:
        coroutine.send(None)
    except StopIteration as result:
        return result.value
    finally:
        asyncio._set_running_loop(None)
    raise AssertionError("it waits")


def load_upgrade() -> Check:
    """Return the check of the upgrade to WebSocket, from both ends."""
    from mqttws.errors import SubprotocolRefused, UpgradeRefused
    from mqttws.net.upgrade import accept_websocket, open_websocket

    headers = [("Authorization", f"Bearer {SECRET}")]

    def check(data: bytes) -> None:
        for cut in ([data], pieces(data)):
            facts: dict[str, str] = {}
            try:
                ended(
                    open_websocket(
                        cast(Any, Wire(cut)), "wss://host/path", 4096, facts=facts, headers=headers
                    )
                )
            except (UpgradeRefused, SubprotocolRefused) as error:
                shown = f"{error} {error.hint} {error!r} {facts}"
                assert SECRET not in shown
                assert str(error).isprintable()
            wire = Wire(cut)
            try:
                ended(accept_websocket(cast(Any, wire), lambda path: path == "/mqtt", 4096))
                assert wire.sent.startswith(b"HTTP/1.1 101 ")
            except UpgradeRefused as error:
                assert str(error).isprintable()
                # 505: of HTTP/1.0, or of a version that there is not.
                assert not wire.sent or wire.sent.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505 "))

    return check


def load_proxy() -> Check:
    """Return the check of proxies' URLs, of servers' and of no_proxy."""
    from mqttws.errors import UsageError
    from mqttws.net.proxy import ProxyConfig, choose_proxy, describe_environment
    from mqttws.net.target import parse_url

    def check(data: bytes) -> None:
        text = text_of(data)
        first, _, second = text.partition("\n")
        for url in (first, f"http://user:{SECRET}@{first}", f"socks5://{first}"):
            for source in ("argument", "environment"):
                try:
                    if source == "argument":
                        found = choose_proxy(ProxyConfig(url), "wss", "hub.example", 443, {})
                    else:
                        environ = {"https_proxy": url, "no_proxy": second}
                        told = list(describe_environment("wss", "hub.example", 443, environ))
                        assert SECRET not in "".join(told) or SECRET in text
                        found = choose_proxy("environment", "wss", "hub.example", 443, environ)
                except UsageError as error:
                    assert SECRET not in f"{error} {error.hint} {error!r}"
                else:
                    if found is not None:
                        assert 1 <= found.port <= 65535
                        assert found.host
                        assert SECRET not in f"{found} {found!r}" or SECRET in first
        try:
            target = parse_url(first)
        except UsageError as error:
            assert f"{error}".isprintable()
        else:
            again = parse_url(target.url)
            assert (again.host, again.port, again.url) == (target.host, target.port, target.url)
        try:
            parse_url(f"wss://user:{SECRET}@{first}")
        except UsageError as error:
            assert SECRET not in f"{error} {error.hint} {error!r}"

    return check


def load_certificates() -> Check:
    """Return the check of certificates that a client shows, or a server, or that are enrolled."""
    from mqttws.errors import UsageError
    from mqttws.local.chains import EnrolledChains, read_chain
    from mqttws.local.x509 import load_certificate, read_certificate
    from mqttws.net.certificate import describe_chain, parse_certificate

    def check(data: bytes) -> None:
        chain = read_chain([data])
        assert len(chain) == 1
        assert len(read_chain([data, data[:-1], data])) >= 1
        chain[0].to_json()
        described = describe_chain([data])
        assert all(value.isprintable() for value in described.values())
        # Beside sound ones: above the device's, and below the enrolled CA.
        assert read_chain([LEAF, data, ISSUER])[0].der == LEAF
        continued = EnrolledChains().continued(chain, [CERTIFICATE, ISSUER])
        assert continued[: len(chain)] == chain
        assert len(EnrolledChains().continued(read_chain([LEAF]), [data, ISSUER])) == 2
        for read in (load_certificate, read_certificate):
            try:
                read(data)
            except UsageError as error:
                assert str(error).isprintable()
        try:
            facts = parse_certificate(data)
        except ValueError:
            return
        assert facts.subject.isprintable()
        assert facts.issuer.isprintable()

    return check


CERTIFICATE = bytes.fromhex(
    "308201bc30820162a00302010202146b9b05f074c44d6ea07da6d66c251f659d0a1101300a06082a8648ce3d04"
    "0302303c312e302c060355040a0c256d717474777320646576656c6f706d656e742c206e6f7420746f20626520"
    "74727573746564310a300806035504030c0172301e170d3236313132363030303534335a170d33363131323330"
    "31303534335a303c312e302c060355040a0c256d717474777320646576656c6f706d656e742c206e6f7420746f"
    "2062652074727573746564310a300806035504030c01723059301306072a8648ce3d020106082a8648ce3d0301"
    "070342000482f8e82fea221462b49e49d83f87c95ab4c856cc607b99248b7cd9550d93163c851e91637a54c190"
    "f52d4a00c7e34b3adf4c7721fa37373d4d29f7c6bb3d37f3a3423040301d0603551d0e041604146f81a0e70706"
    "01cbb734611578e1d08ea377c6d5300f0603551d130101ff040530030101ff300e0603551d0f0101ff04040302"
    "0186300a06082a8648ce3d0403020348003045022100b336dcf4f2a8fc2ca8c2e40692b2b88017c6db5665ea43"
    "29f9fefe3f20c90ebd02206896710378a07a9e638d1ae81c844393b620dcbfba94af3a96a875ad37a2d4dd"
)
"""A CA's certificate that is well formed, made once for a key on P-256."""

ISSUER = bytes.fromhex(
    "3082012e3081d5a003020102020107300a06082a8648ce3d040302300d310b300906035504030c026361301e17"
    "0d3236303130313030303030305a170d3436303130313030303030305a300d310b300906035504030c02636130"
    "59301306072a8648ce3d020106082a8648ce3d030107034200044c0cd493226cdcf10964e6b37ad92201bbb920"
    "1268465b08d6a5ddddc30439a48348191b7c04e161bb8e779eb8166c8db59e617b1ece550baedea48e442aa920"
    "a326302430120603551d130101ff040830060101ff020100300e0603551d0f0101ff040403020204300a06082a"
    "8648ce3d040302034800304502203945acc8c451dbe5f176ba319fe167c6e669a34c606514435f747cf795e4a3"
    "2b022100b2f5a7f1c7ab8f1a8d858f89e91ea1a299459e006431be1751ee3894e9e09e34"
)
"""A CA that may have no CA below it."""

LEAF = bytes.fromhex(
    "3082012e3081d4a003020102020108300a06082a8648ce3d040302300d310b300906035504030c026361301e17"
    "0d3236303130313030303030305a170d3436303130313030303030305a300c310a300806035504030c01643059"
    "301306072a8648ce3d020106082a8648ce3d03010703420004ba090fe1f5673be597edfd1d3f87bf2e7c237b26"
    "eb42bf75350f0ec9369ba82b2944bebb9c7f371212424c79ad073f0f177b95a8847fdd5dba413bbe8121c690a3"
    "26302430140603551d11040d300b8209642e6578616d706c65300c0603551d130101ff04023000300a06082a86"
    "48ce3d0403020349003046022100b858c7e3f1a1917aeefbb4f692c79650dfbff15c0edd93664a35613ab1d079"
    "3c022100dd7d20b6542061f86b98e3fe1bea89458758202347360e8fe16ac46b9c9a8e86"
)
"""A certificate that it has signed, with a name of its own."""

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)

TARGETS = {
    "connect": Target(
        "an HTTP proxy's answer lets through, is answered, or is one ProxyRefused in printable words"
        " without the login; a head and a body's end stay where they were found",
        ("mqttws.net.http_connect", "mqttws.net.http_head"),
        load_connect,
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connected\r\nVia: p\r\n\r\n",
            b'HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm="a"\r\nContent-Length: 2\r\n\r\nno',
            b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Negotiate\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            b"HTTP/1.1 403 Forbidden\r\nServer: squid\r\nX-Squid-Error: ERR\r\n\r\n<title>No</title>",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"SSH-2.0-OpenSSH\r\n",
        ),
        (
            "mqttws/net/http_head.py",
            "if length is None or len(data) < head.length + length:",
            "if length is None:",
        ),
        largest=400,
    ),
    "socks": Target(
        "a SOCKS proxy's answer lets through, the same however it is cut, or is one ProxyRefused in"
        " printable words without the login",
        ("mqttws.net.socks",),
        load_socks,
        (
            b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
            b"\x05\x02\x01\x00\x05\x00\x00\x03\x03abc\x01\xbb",
            b"\x05\x00\x05\x00\x00\x04" + bytes(18),
            b"\x05\x02\x01\x01",
            b"\x05\xff",
            b"\x05\x00\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00",
            b"\x00\x5a" + bytes(6),
            b"\x00\x5b" + bytes(6),
            b"HTTP/1.1 400 Bad\r\n\r\n",
        ),
        ("mqttws/net/socks.py", "if len(self._inbox) < count:", "if not self._inbox:"),
        largest=64,
    ),
    "upgrade": Target(
        "an answer to the upgrade, and a request for one, is a WebSocket or one error in printable"
        " words without a secret; each request that is refused is answered",
        ("mqttws.net.upgrade", "mqttws.net.http_head", "mqttws.net.http_page"),
        load_upgrade,
        (
            SWITCH,
            REQUEST,
            b"HTTP/1.1 403 Forbidden\r\nServer: x\r\nContent-Length: 20\r\n\r\n<title>Blocked</title>",
            b"HTTP/1.1 302 Found\r\nLocation: https://login/?q=1\r\n\r\n",
            b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n",
            b"\x10\x14\x00\x04MQTT",
        ),
        (
            "mqttws/net/upgrade.py",
            'if not b"HTTP/".startswith(bytes(begun[:5])):',
            "if begun[0] != 72:",
        ),
        largest=400,
    ),
    "proxy": Target(
        "a URL of a proxy or a server is usable or one UsageError that does not show its password;"
        " a server's URL reads the same again",
        ("mqttws.net.proxy", "mqttws.net.no_proxy", "mqttws.net.target", "mqttws.net.names"),
        load_proxy,
        (
            b"http://proxy:3128\nhub.example,.example,10.0.0.0/8",
            b"socks5h://user:p%40ss@[2001:db8::1]:1080\n*",
            b"https://proxy\n192.0.2.0/24",
            b"wss://hub.example/a?b=c",
            b"mqtts://[::1]:8883",
            b"proxy:3128\n[::1]:443",
            "wss://b\u00fccher.example/".encode(),
        ),
        (
            "mqttws/net/target.py",
            "    except ValueError:  # its text holds the whole URL, so it goes no further\n",
            "    except KeyError:\n",
        ),
        largest=120,
    ),
    "certificates": Target(
        "any bytes that a client shows as its certificate are a chain, of a server or an enrollment"
        " facts or one error, in printable words",
        ("mqttws.local.chains", "mqttws.net.certificate"),
        load_certificates,
        (CERTIFICATE, ISSUER, LEAF),
        (
            "mqttws/local/chains.py",
            "    except Exception as error:  # ValueError, InvalidVersion and more",
            "    except KeyError as error:  # ValueError, InvalidVersion and more",
        ),
        largest=1024,
    ),
}
