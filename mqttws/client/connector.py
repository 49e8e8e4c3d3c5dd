"""A client's connections: which target, which password, and whether to try again.

Whether and when there is another attempt is ``retry``'s rule. Does not know sessions, queues or
states: what a connection is used for is the engine's matter.
"""

import inspect
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConnectFailed, MqttwsError, UsageError
from ..hops import Cause, Hop
from ..net.hops import Walk
from ..net.proxy import ProxyConfig
from ..net.stream import Stream
from ..net.target import Target, parse_url
from ..net.tls import Tls
from ..net.ways import dial_first
from ..retry import is_forbidden, is_refused_login, reconnect_wait
from ..text import SecretText, one_line
from ..wire import Connect
from . import clock
from .options import Headers, Options, Urls, password_bytes

logger: logging.Logger = logging.getLogger("mqttws.client")

MAX_PACKET = 268_435_460
"""Bytes of the largest packet that MQTT has (section 2.2.3)."""


class Connector:
    """Opens a client's connections.

    Attributes:
        targets: where to; the one that worked last comes first.
    """

    def __init__(self, options: Options) -> None:
        self.targets: list[Target] = options.targets
        self._options = options
        self._attempts = 0  # since the last good connection

    def walk(self) -> Walk:
        """Return a walk with the client's time limits."""
        options = self._options
        walk = Walk(
            timeout=options.connect_timeout,
            hop_timeout=options.hop_timeout,
            on_step=options.on_step,
        )
        walk.resume = True
        return walk

    async def dial(self, walk: Walk, *, whole: bool = False) -> Stream:
        """Return a stream to a server, on which MQTT has not begun.

        Args:
            walk: the time limits.
            whole: whether WebSocket messages of any size are taken, for a client that discards a
                message over its limit packet by packet.
        """
        options = self._options
        if options.make_url is not None:
            self.targets = targets_of(await _made(options.make_url, "URL"))
        given = options.headers
        headers = checked_headers(await _made(given, "headers") if callable(given) else given)
        targets = self.targets
        if headers:
            targets = [replace(target, headers=headers) for target in targets]
        taken, stream = await dial_first(
            targets,
            walk,
            tls=options.tls,
            proxy=options.proxy,
            max_message_size=MAX_PACKET if whole else max(4 * options.max_packet_size, 1024 * 1024),
        )
        first = self.targets[targets.index(taken)]
        self.targets.sort(key=lambda target: target is not first)
        return stream

    async def connect_packet(self) -> Connect:
        """Return CONNECT with the password that is valid now."""
        password = self._options.password
        if not callable(password):
            return self._options.connect
        secret = password_bytes(await _made(password, "password"))
        connect = self._options.connect
        if connect.password != secret:
            connect = replace(connect, password=secret)
            connect.encode()
            self._options.connect = connect
        return connect

    def redirect(self, targets: list[Target], username: str | None, tls: Tls) -> None:
        """Connect to other targets, as another user, from the next attempt on; None: as before."""
        self.targets = targets
        self._options.make_url = None
        self._options.tls = tls or self._options.tls
        self._options.connect = replace(self._options.connect, username=username)

    async def _judgement(self, error: MqttwsError) -> bool | None:
        """Return whether the application wants another attempt; None if it leaves that to us."""
        judge = self._options.on_attempt_failed
        if judge is None:
            return None
        try:
            found = judge(error)
            return await found if inspect.isawaitable(found) else found
        except Exception:
            logger.exception("on_attempt_failed failed")
            return None

    def note_loss(self, seconds: float) -> bool:
        """Count a connection that ended after so long; return whether to make another."""
        backoff = self._options.reconnect
        if backoff is None:
            return False
        if seconds > backoff.ceiling(self._attempts):
            self._attempts = 0  # it was a good connection
        return True

    async def try_again(
        self,
        attempt: Callable[[Walk], Awaitable[object]],
        on_failure: Callable[[MqttwsError], None],
        *,
        at_once: bool = False,
    ) -> MqttwsError | None:
        """Make attempts until one succeeds; or return why there is no point in another.

        Args:
            attempt: one attempt.
            on_failure: called with each that failed and is followed by another.
            at_once: whether the first one does not wait.
        """
        backoff = self._options.reconnect
        assert backoff is not None, "note_loss says so"
        wait = 0.0 if at_once else backoff.wait(self._attempts, _chance())
        asked_anew: set[str] = set()
        while True:
            if wait or not at_once:
                await clock.sleep(wait)
            at_once = False
            self._attempts += 1
            try:
                await attempt(self.walk())
            except MqttwsError as error:
                reason: MqttwsError = error
            else:
                return None
            wanted = await self._judgement(reason)
            until = None if wanted is False else self._wait_after(reason, wanted, asked_anew)
            if until is None:
                return reason
            wait = until
            _tell_wait(reason, wait)
            on_failure(reason)

    def _wait_after(
        self, reason: MqttwsError, wanted: bool | None, asked_anew: set[str]
    ) -> float | None:
        """Return the seconds before the next attempt; None for no other.

        Args:
            reason: why the last one failed.
            wanted: whether the application wants another; None where it leaves that to the rules.
            asked_anew: whether ``password`` and ``login`` were asked for again after a refusal.
        """
        backoff = self._options.reconnect
        assert backoff is not None, "note_loss says so"
        fresh_login = self._has_fresh_login(reason) and "login" not in asked_anew
        if not is_refused_login(reason):
            asked_anew.discard("login")
        elif fresh_login:
            asked_anew.add("login")
        if wanted or (self._has_fresh_password(reason) and "password" not in asked_anew):
            asked_anew.add("password")
            return backoff.wait(self._attempts, _chance())
        return reconnect_wait(
            reason,
            self._attempts,
            _chance(),
            backoff,
            refused_login_retry=self._options.refused_login_retry,
            fresh_login=fresh_login,
        )

    def _has_fresh_password(self, error: MqttwsError) -> bool:
        """Tell whether the server refused a password, and the application makes a new one."""
        stale = error.cause in (Cause.LOGIN_REFUSED, Cause.NOT_AUTHORIZED)
        return stale and callable(self._options.password)

    def _has_fresh_login(self, error: MqttwsError) -> bool:
        """Tell whether the proxy refused a login, and the application makes a new one."""
        proxy = self._options.proxy
        if not is_refused_login(error) or not isinstance(proxy, ProxyConfig):
            return False
        return proxy.login is not None or proxy.on_challenge is not None


def _tell_wait(reason: MqttwsError, wait: float) -> None:
    """Add to the hint of a proxy's refusal when the proxy is asked again."""
    if is_refused_login(reason):
        how = f"the login is sent again in {wait:.0f} s" if wait else "a login is asked for anew"
    elif is_forbidden(reason):
        how = f"the proxy is asked again in {wait:.0f} s"
    else:
        return
    reason.hint = "; ".join(filter(None, (reason.hint, how)))


async def _made(function: Callable[[], Any], what: str) -> Any:
    """Return what a function of the application makes for a connection.

    Raises:
        ConnectFailed: it raised an exception, which is chained.
    """
    try:
        found = function()
        return await found if inspect.isawaitable(found) else found
    except MqttwsError:
        raise
    except Exception as error:
        raise ConnectFailed(
            f"connect: the function for the {what} failed: {type(error).__name__}",
            hop=Hop.CONNECT,
            cause=Cause.CALLBACK_FAILED,
            hint="see the chained error",
        ) from error


def targets_of(url: Urls) -> list[Target]:
    """Return where one URL or several lead.

    Raises:
        UsageError: one is none, or there is none.
    """
    given = url if isinstance(url, Sequence) and not isinstance(url, str) else [url]
    targets = [one if isinstance(one, Target) else parse_url(one) for one in given]
    if not targets:
        raise UsageError("a client needs a URL")
    for target in targets:
        if not target.websocket and target.path != "/":
            logger.warning(
                "%s: the path %s is left out: over %s:// there is none",
                target.url, one_line(target.path.partition("?")[0][:100]), target.scheme,
            )  # fmt: skip
    return targets


_OWN_HEADERS = re.compile(r"host|connection|upgrade|sec-websocket-.*", re.IGNORECASE)
"""Headers that the upgrade sets itself."""


def checked_headers(headers: Headers | None) -> tuple[tuple[str, str], ...]:
    """Return headers as pairs; their values are in no error.

    Raises:
        UsageError: a name or value cannot be sent.
    """
    if headers is None:
        return ()
    if not isinstance(headers, Mapping):
        raise UsageError(f"headers: found {type(headers).__name__}; allowed: a mapping")
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UsageError(f"header name {name!r}; allowed: a token (RFC 9110 section 5.6.2)")
        if _OWN_HEADERS.fullmatch(name):
            raise UsageError(f"header {name}: it is set by the upgrade itself")
        if not isinstance(value, str) or not re.fullmatch(r"[\t -~\x80-\xff]*", value):
            raise UsageError(f"header {name}: its value holds control characters; allowed: text")
    return tuple((name, SecretText(value)) for name, value in headers.items())


def _chance() -> float:
    return random.random()  # noqa: S311 - spread, not secrecy
