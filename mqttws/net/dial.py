"""Walks the hops to a server and yields a stream that carries MQTT.

Name, TCP, a proxy's legs, TLS, upgrade: every way through a network exists once, here. Does not
know what is said to a proxy (``tunnel``) and which one it is (``proxy``). The modules that explain
a failure are imported when there is one: a device's start does not wait for them.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import (
    ConnectFailed,
    HopTimedOut,
    MqttwsError,
    NameNotResolved,
    ProxyRefused,
    TlsFailed,
    UpgradeRefused,
)
from ..hops import Cause, Hop
from ..loop_thread import off_the_loop
from .certificate import describe_session
from .handshake import Handshake, proved_chain
from .hops import Walk
from .proxy import ENVIRONMENT, Proxy, ProxyChoice, asks_for_login, choose_proxy
from .sessions import SESSIONS, Key, key_of
from .stream import ByteStream, Stream
from .target import Target
from .tcp import connect, resolve
from .tls import Tls, TlsConfig, client_context, proxy_context

if TYPE_CHECKING:
    from .tunnel import Tunnel


async def dial(
    target: Target,
    walk: Walk,
    *,
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    max_message_size: int,
) -> Stream:
    """Walk the hops to ``target`` and return the stream.

    Args:
        target: where to.
        walk: keeps the time limits and records the steps.
        tls: whom to trust.
        proxy: which proxy to go through.
        max_message_size: the largest WebSocket message in bytes that is accepted.

    Raises:
        ConnectFailed: with the ``hop`` that failed; nothing is left open.
        UsageError: an argument or a variable of the environment cannot be used.
        UnusableFile: a certificate, key or CA file cannot be read or used.
    """
    # A bad CA file or proxy URL is reported before anything is sent.
    context = client_context(tls) if target.secure else None
    chosen = await _choose(proxy, target, walk)
    proxy_tls = (
        proxy_context(chosen.tls, tls) if chosen is not None and chosen.scheme == "https" else None
    )

    walk.certified |= isinstance(tls, TlsConfig) and tls.certificate is not None
    try:
        stream = await _reach(target, walk, chosen, proxy_tls)
    except ConnectFailed as error:
        from .proxy_advice import explain_proxy

        explain_proxy(error, proxy, chosen, target)
        raise
    try:
        if context is not None:
            key = key_of(context, target, chosen) if walk.resume else None
            login = chosen.login if chosen is not None else None
            hidden = login.secrets if login is not None else ()
            try:
                await _secure(
                    stream, context, target.server_name, walk, Hop.TLS, key=key, secrets=hidden
                )
            except (TlsFailed, HopTimedOut) as error:
                from .proxy_advice import blame_proxy

                blame_proxy(error, chosen)
                raise
        if not target.websocket:
            return stream
        # Imported here: MQTT over TLS does not wait for what it does not use.
        from .upgrade import open_websocket

        upgrade_url = replace(target, host=target.server_name).url
        before = stream.received
        async with walk.hop(Hop.UPGRADE, target.path.partition("?")[0]) as step:
            try:
                websocket = await open_websocket(
                    stream, upgrade_url, max_message_size, step.facts, target.headers
                )
            except UpgradeRefused as error:
                raise error from stream.cause
            finally:
                step.heard = stream.received - before
            step.detail = f"101, subprotocol {websocket.subprotocol}"
            return websocket
    except BaseException as error:
        if isinstance(error, Exception):
            walk.failures[stream.address] += 1
        stream.abort()
        raise


async def _choose(choice: ProxyChoice, target: Target, walk: Walk) -> Proxy | None:
    """Return the proxy to go through, with its login; a function that is asked for one may block.

    Raises:
        ConnectFailed: the function raised an exception, which is chained, or did not return within
            the walk's time.
    """
    choose = partial(choose_proxy, choice, target.scheme, target.host, target.port)
    if not asks_for_login(choice):
        return choose()
    limit = asyncio.timeout(walk.remaining)
    try:
        async with limit:
            found: Proxy | None = await off_the_loop(choose)
            return found
    except MqttwsError:
        raise
    except Exception as error:
        if limit.expired():
            raise HopTimedOut(
                f"proxy: login= did not return within the {walk.timeout:.3g} s for all of it",
                hop=Hop.PROXY,
                cause=Cause.CALLBACK_FAILED,
                hint="have it return sooner, or give more time",
            ) from None
        raise ConnectFailed(
            f"proxy: login= failed: {type(error).__name__}",
            hop=Hop.PROXY,
            cause=Cause.CALLBACK_FAILED,
            hint="see the chained error",
        ) from error


async def _reach(
    target: Target, walk: Walk, proxy: Proxy | None, proxy_tls: ssl.SSLContext | None
) -> ByteStream:
    """Return a stream whose bytes go to the server, straight or through a proxy."""
    if proxy is None:
        return await _connect_tcp(target.host, target.port, walk, Hop.NAME, Hop.TCP)
    from .socks import UNREACHABLE_REPLIES
    from .tunnel import tunnel_through

    if not proxy.resolves_here:
        tunnel = tunnel_through(proxy, target.host, target.port)
        return await _pass_proxy(proxy, proxy_tls, tunnel, walk)
    async with walk.hop(Hop.NAME, target.host) as step:
        addresses = [address[4][0] for address in await resolve(target.host, target.port)]
        step.facts["addresses"] = ", ".join(addresses)
        step.detail = f"{target.host} is {step.facts['addresses']}"
    for number, address in enumerate(addresses, 1):
        try:
            tunnel = tunnel_through(proxy, target.host, target.port, address)
            return await _pass_proxy(proxy, proxy_tls, tunnel, walk)
        except ProxyRefused as error:
            if error.status not in UNREACHABLE_REPLIES or number == len(addresses):
                raise
    raise NameNotResolved(f"{target.host} has no address", hop=Hop.NAME)


async def _connect_tcp(host: str, port: int, walk: Walk, name_hop: Hop, tcp_hop: Hop) -> ByteStream:
    """Return a TCP connection to a server or proxy."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with walk.hop(name_hop, host) as step:
        addresses = await resolve(host, port, name_hop)
        addresses.sort(key=lambda address: walk.failures[address[4][0]])
        step.facts["addresses"] = ", ".join(address[4][0] for address in addresses)
        step.detail = f"{host} is {step.facts['addresses']}"
    async with walk.hop(tcp_hop, where) as step:
        stream = await connect(addresses, where, tcp_hop)
        step.detail = stream.peer
        return stream


async def _pass_proxy(
    proxy: Proxy, context: ssl.SSLContext | None, tunnel: "Tunnel", walk: Walk
) -> ByteStream:
    """Return a connection to the proxy that it has joined to the server."""

    while True:
        stream = await _connect_tcp(proxy.host, proxy.port, walk, Hop.PROXY_NAME, Hop.PROXY_TCP)
        try:
            if context is not None:
                await _secure(stream, context, proxy.host.rstrip("."), walk, Hop.PROXY_TLS)
            async with walk.hop(Hop.PROXY, tunnel.request) as step:
                try:
                    await _talk(stream, tunnel)
                finally:
                    step.heard = stream.received
                    step.facts = dict(tunnel.facts)
                step.detail += f": {tunnel.facts.get('status', '')}"
        except BaseException:
            stream.abort()
            raise
        if tunnel.done:
            return stream
        stream.abort()  # the proxy closes after its demand for a login; the answer goes elsewhere
        tunnel.restart()


async def _talk(stream: ByteStream, tunnel: "Tunnel") -> None:
    """Move the bytes of a talk with a proxy until it is over, here or altogether."""
    from .http_page import PAGE_PATIENCE

    until: float | None = None
    while not (tunnel.done or tunnel.reconnect):
        if to_send := tunnel.data_to_send():
            stream.write(to_send)
        if tunnel.refused and until is None:
            until = asyncio.get_running_loop().time() + PAGE_PATIENCE
        if data := await stream.read_until(until):
            if tunnel.asks:
                await off_the_loop(tunnel.receive_data, data)
            else:
                tunnel.receive_data(data)
        else:
            tunnel.receive_eof()


async def _secure(
    stream: ByteStream,
    context: ssl.SSLContext,
    host: str,
    walk: Walk,
    hop: Hop,
    *,
    key: Key | None = None,
    secrets: Sequence[str] = (),
) -> None:
    """Go on in TLS; a certificate that is rejected is described from this very handshake."""
    offer = SESSIONS.take(key) if key is not None else None
    handshake = Handshake(context, None if offer is None else offer.session)
    async with walk.hop(hop, host) as step:
        try:
            await stream.start_tls(handshake, host, max(0.001, walk.remaining))
        except ssl.SSLCertVerificationError as error:
            from .verification import rejected_certificate

            rejected = rejected_certificate(error, hop, host, handshake.made, context=context)
            if handshake.made is not None:
                step.certificates = tuple(proved_chain(handshake.made))
            raise rejected from error
        except ssl.SSLError as error:
            from .not_tls import broken_off

            raise broken_off(error, hop, host, handshake.begun, secrets) from error
        except asyncio.CancelledError:  # perhaps the hop's time is over: the socket knows more
            from .evidence import judge_silence, packets_of

            if (packets := packets_of(stream.info("socket"))) is not None:
                step.facts["packets"] = packets.sentence
                step.silence = judge_silence(packets)
            raise
        session = stream.info("ssl_object")
        chain = proved_chain(session) if walk.described else []
        step.facts.update(describe_session(session, chain))
        step.certificates = tuple(chain)
        step.detail = f"{step.facts['version']}, {step.facts['cipher']}"
        if session.session_reused:
            step.detail += ", resumed"
        handshake.release()
    if key is not None:
        stream.on_session = SESSIONS.keeper(key, session, offer)
