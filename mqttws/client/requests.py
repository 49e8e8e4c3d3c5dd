"""SUBSCRIBE and UNSUBSCRIBE over several connections, and subscriptions renewed on a new one.

Knows what the application is subscribed to and in how large requests it asked. Does not know why a
connection ended.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import MqttwsError, RequestTimedOut, SubscribeRefused
from ..hops import Hop
from ..protocol import ClientProtocol
from ..wire import REFUSED, Subscription
from . import clock
from .inbox import logger
from .link import Link
from .options import Options
from .patience import Patience
from .reading import Reading
from .suspect import Suspect

Part = tuple[str, ...]
"""The topic filters of one SUBSCRIBE."""


Current = Callable[[], Link | None]
"""Returns the connection, None without one; raises the reason for the client's end."""

Trouble = Callable[[], MqttwsError | None]
"""Returns why the connection was lost since the call began; None if it was not."""


class Requests:
    """A client's subscriptions, and its requests for them.

    Args:
        reading: is kept going while an answer is awaited.
        patience: stands still while the application awaits a subscription.
        options: the client's. ``request_timeout`` is for the answer to a request, times without a
            connection included; ``hop_timeout`` is what messages wait at most for a subscription
            under suspicion, once it was sent.
        suspect: counts the connections that ended before the oldest subscription was renewed.

    Attributes:
        subscriptions: the QoS that was asked for, by topic filter.
    """

    def __init__(
        self, reading: Reading, patience: Patience, options: Options, suspect: Suspect
    ) -> None:
        self.subscriptions: dict[str, int] = {}
        self._reading = reading
        self._patience = patience
        self._timeout = options.request_timeout
        self._hop_timeout = options.hop_timeout
        self._largest = 1  # filters in the application's largest request
        self._unrenewed: dict[str, None] = {}  # lost by the server, and not granted again yet
        self._suspect = suspect
        self._waiting: list[asyncio.Future[None]] = []  # for a connection
        self._renewing: asyncio.Task[None] | None = None
        self._send_messages: Callable[[], None] | None = None
        self._asked_at: float | None = None  # when the one under suspicion was sent
        self._begun_at = 0.0  # when there was a connection for it

    def note(self, asked: list[Subscription], codes: list[int]) -> str:
        """Note what a request was granted; return the first filter that was refused, or ""."""
        refused = ""
        for one, code in zip(asked, codes, strict=True):
            if code == REFUSED:
                refused = refused or one.topic_filter
                continue
            self.subscriptions[one.topic_filter] = one.qos
            self._unrenewed.pop(one.topic_filter, None)
        self._largest = max(self._largest, len(asked))
        return refused

    async def subscribe(
        self, subscriptions: list[Subscription], current: Current, trouble: Trouble
    ) -> list[int]:
        """Subscribe; return what was granted. ``current`` and ``trouble`` as for ``request``.

        Raises:
            SubscribeRefused: the server refused at least one filter.
        """
        with self._patience.subscribing():
            granted: list[int] = await self.request(
                partial(ClientProtocol.subscribe, subscriptions=subscriptions),
                f"subscribe to {subscriptions[0].topic_filter!r}",
                current,
                trouble,
            )
        refused = self.note(subscriptions, granted)
        if refused:
            raise SubscribeRefused(
                f"subscribe: the server refused topic filter {refused!r}",
                topic_filter=refused,
                hint="this client may not read it, or the server does not have such topics",
            )
        return granted

    async def unsubscribe(self, names: list[str], current: Current, trouble: Trouble) -> None:
        """Unsubscribe. ``current`` and ``trouble`` as for ``request``."""
        send = partial(ClientProtocol.unsubscribe, topic_filters=names)
        await self.request(send, f"unsubscribe from {names[0]!r}", current, trouble)
        for name in names:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Note that a subscription is not wanted any more."""
        self.subscriptions.pop(name, None)
        self._unrenewed.pop(name, None)

    async def request(
        self,
        send: Callable[[ClientProtocol], int],
        what: str,
        current: Current,
        trouble: Trouble,
    ) -> Any:
        """Send a request and wait for the answer, over connections if need be.

        Args:
            send: puts the request on a connection.
            what: its name, for an error.
            current: returns the connection; None without one; raises the reason for the end.
            trouble: returns why the connection was lost since the call began, if it was.

        Raises:
            RequestTimedOut: there was no answer in time.
            MqttwsError: the reason for the client's end.
        """
        self._reading.begin_answer()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    link = current()
                    if link is None:
                        await self._connection()
                        continue
                    try:
                        return await link.request(send)
                    except MqttwsError:
                        if current() is link:
                            raise
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            reason = trouble()
            because = f": the connection was lost meanwhile: {reason}" if reason else ""
            raise RequestTimedOut(
                f"{what}: no answer within {self._timeout:g} s{because}", hop=Hop.SUBSCRIBE
            ) from reason
        finally:
            self._reading.end_answer()

    async def _connection(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def wake(self) -> None:
        """Let the requests look that wait for a connection: there is one, or the client ended."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # Renewing

    def renew(self, link: Link, session_present: bool, send_messages: Callable[[], None]) -> None:
        """Ask again for what the server has forgotten, while the connection is in use.

        Args:
            link: the new connection.
            session_present: as its CONNACK says.
            send_messages: called when messages may be sent: at once, but behind a subscription that
                is under suspicion. What ends the connection would be in doubt else.
        """
        self.stop()
        self._asked_at = None
        self._send_messages = send_messages
        if not session_present:
            self._unrenewed = dict.fromkeys(self.subscriptions)
        self._begun_at = clock.now()
        first = self._suspect.oldest
        if isinstance(first, str) and first in self._unrenewed:
            # Again the first, whatever was granted on its connection: a new session forgets all.
            self._unrenewed = {first: None, **self._unrenewed}
        if self._unrenewed:
            self._renewing = link.loop.create_task(self._renew(link))
        if not self._unrenewed or not self._suspect.alone:
            self._let_messages()

    def _let_messages(self) -> None:
        send_messages, self._send_messages = self._send_messages, None
        if send_messages is not None:
            send_messages()

    def on_lost(self, *, refused: bool) -> None:
        """Judge a lost connection, if subscriptions were being renewed on it.

        Args:
            refused: whether the server itself ended it, having taken all that was sent.
        """
        renewing = self._renewing is not None
        self.stop()
        oldest = next(iter(self._unrenewed), None) if renewing else None
        if oldest is not None and self._suspect.hold and self._asked_at is None:
            self._suspect.note_cut(clock.now() - self._begun_at)
            return
        lasted = None
        if refused and self._asked_at is not None:
            lasted = clock.now() - self._asked_at
        if self._suspect.note_loss(oldest, lasted) and oldest is not None:
            logger.error("not renewed: the server ends each connection for %s", oldest)
            self.forget(oldest)

    def stop(self) -> None:
        """Renew no more: the connection has ended."""
        self._send_messages = None
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    def _parts(self) -> Iterator[Part]:
        """Yield what is to be renewed in requests no larger than the application's own."""
        names = list(self._unrenewed)
        size = 1 if self._suspect.alone else self._largest
        for at in range(0, len(names), size):
            yield tuple(names[at : at + size])

    async def _renew(self, link: Link) -> None:
        """Send every request and then await the answers; one at a time under suspicion."""
        self._reading.begin_answer()
        try:
            if self._suspect.alone:
                await self._renew_singly(link)
            else:
                asked = [(part, self._ask(link, part)) for part in self._parts()]
                for part, answer in asked:
                    await self._take(part, answer)
            self._renewing = None
            self._suspect.clear()
        except TimeoutError:
            count = len(self._unrenewed)
            error = RequestTimedOut(
                f"{count} subscriptions were not renewed: no SUBACK within {self._timeout:g} s",
                hop=Hop.SUBSCRIBE,
            )
            link.give_up(error)
        except MqttwsError:
            pass  # the connection has ended: there will be another
        finally:
            self._reading.end_answer()

    async def _renew_singly(self, link: Link) -> None:
        await clock.sleep(self._suspect.hold)
        self._asked_at = clock.now()
        timer = link.loop.call_later(self._hop_timeout, self._acquit)
        try:
            while part := next(self._parts(), None):
                await self._take(part, self._ask(link, part))
        finally:
            timer.cancel()
        self._let_messages()

    def _acquit(self) -> None:
        """Let the messages follow: the server has had it for so long, and has not left."""
        self._suspect.clear()
        self._let_messages()

    def _ask(self, link: Link, part: Part) -> "asyncio.Future[Any]":
        wanted = [Subscription(name, self.subscriptions[name]) for name in part]
        return link.begin_request(partial(ClientProtocol.subscribe, subscriptions=wanted))

    async def _take(self, part: Part, answer: "asyncio.Future[Any]") -> None:
        async with asyncio.timeout(self._timeout):
            codes = await asyncio.shield(answer)
        for name, code in zip(part, codes, strict=True):
            self._unrenewed.pop(name, None)
            if code == REFUSED:
                logger.warning("the server now refuses topic filter %r", name)
