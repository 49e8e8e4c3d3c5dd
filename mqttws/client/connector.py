"""How a client comes by its connections: which target, which password, and whether to try again.

Knows back-off, and what a refusal means for another attempt. Does not know sessions, queues or
states: what a connection is used for is the engine's matter.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ..errors import (
    CertificateRejected,
    ConnectFailed,
    ConnectRefused,
    MqttwsError,
    StoreFailed,
    UsageError,
)
from ..hops import Hop
from ..net.hops import Walk
from ..net.stream import Stream
from ..net.target import Target
from ..net.ways import dial_first
from ..wire import Connect
from . import clock
from .options import Options, password_bytes

logger = logging.getLogger("mqttws.client")


class Connector:
    """Opens a client's connections.

    Attributes:
        targets: where to; the one that worked last comes first.
    """

    def __init__(self, options: Options) -> None:
        self.targets = options.targets
        self._options = options
        self._attempts = 0  # since the last good connection

    def walk(self) -> Walk:
        """Return a walk with the client's time limits."""
        options = self._options
        return Walk(
            timeout=options.connect_timeout,
            hop_timeout=options.hop_timeout,
            on_step=options.on_step,
        )

    async def dial(self, walk: Walk) -> Stream:
        """Return a stream to a server, on which MQTT has not begun."""
        options = self._options
        taken, stream = await dial_first(
            self.targets,
            walk,
            tls=options.tls,
            proxy=options.proxy,
            max_message_size=max(4 * options.max_packet_size, 1024 * 1024),
        )
        self.targets.sort(key=lambda target: target is not taken)
        return stream

    async def connect_packet(self) -> Connect:
        """Return CONNECT with the password that is valid now."""
        password = self._options.password
        if not callable(password):
            return self._options.connect
        try:
            found = password()
            secret = await found if inspect.isawaitable(found) else found
            connect = replace(self._options.connect, password=password_bytes(secret))
            connect.encode()
        except MqttwsError:
            raise
        except Exception as error:
            raise ConnectFailed(
                f"connect: the function for the password failed: {type(error).__name__}",
                hop=Hop.CONNECT,
                hint="see the chained error",
            ) from error
        return connect

    def redirect(self, targets: list[Target], username: str | None) -> None:
        """Connect to other targets, as another user, from the next attempt on."""
        self.targets = targets
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
        """Learn that a connection ended after so long; return whether there is to be another."""
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
            on_failure: told of each that failed and is followed by another.
            at_once: whether the first one does not wait.
        """
        backoff = self._options.reconnect
        assert backoff is not None, "note_loss says so"
        tried_anew = False
        while True:
            if not at_once:
                await clock.sleep(backoff.wait(self._attempts))
            at_once = False
            self._attempts += 1
            try:
                await attempt(self.walk())
            except MqttwsError as error:
                reason: MqttwsError = error
            else:
                return None
            wanted = await self._judgement(reason)
            if wanted is False:
                return reason
            if wanted is None and _is_fatal(reason):
                stale = callable(self._options.password) and _is_about_credential(reason)
                if tried_anew or not stale:
                    return reason
                tried_anew = True
            on_failure(reason)


def _is_fatal(error: MqttwsError) -> bool:
    """Tell whether another attempt would end the same way."""
    if isinstance(error, ConnectRefused):
        return error.return_code != 3  # 3: unavailable for now
    return isinstance(error, CertificateRejected | UsageError | StoreFailed)


def _is_about_credential(error: MqttwsError) -> bool:
    return isinstance(error, ConnectRefused) and error.return_code in (4, 5)
