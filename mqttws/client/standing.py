"""A client's state, and the calls that it refuses in each."""

import asyncio

from ..errors import MqttwsError, UsageError
from ..hops import Cause
from .inbox import logger
from .options import ClientState, OnState


class Standing:
    """A client's state.

    Args:
        on_state: called with each change and its reason; None for none.

    Attributes:
        state: where the client stands.
        error: the reason for its end; None before, and if that was asked for.
        loop: the event loop that it lives in; None before ``connect``.
        leaving: whether it is being left: no call is taken any more.
    """

    def __init__(self, on_state: OnState | None) -> None:
        self.state: ClientState = ClientState.NEW
        self.error: MqttwsError | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.leaving = False
        self._on_state = on_state

    @property
    def over(self) -> bool:
        """Whether the client has ended."""
        return self.state is ClientState.CLOSED

    def require_usable(self) -> None:
        """Refuse a call before connecting and after the end.

        Raises:
            UsageError: the client is not connected, or is being left.
            MqttwsError: the reason for its end.
        """
        if self.state is ClientState.CLOSED or self.leaving:
            if self.error is not None:
                raise self.error.with_traceback(None)
            raise UsageError(
                "the client has been disconnected",
                cause=Cause.WRONG_MOMENT,
                hint="make a new client",
            )
        if self.state in (ClientState.NEW, ClientState.CONNECTING):
            raise UsageError(
                "the client is not connected",
                cause=Cause.WRONG_MOMENT,
                hint="await client.connect() first",
            )

    def require_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop; refuse another one than the client's own, or none.

        Raises:
            UsageError: says so.
        """
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is None:
            raise UsageError(
                "no asyncio event loop runs here",
                cause=Cause.WRONG_MOMENT,
                hint="use AsyncClient within asyncio, or Client in a program without an event loop",
            )
        if self.loop is not None and running is not self.loop:
            raise UsageError(
                "the client lives in another event loop, the one in which it was connected",
                cause=Cause.WRONG_MOMENT,
                hint="use a client within one asyncio.run() and one thread, or make one for each",
            )
        return running

    def ended(self) -> bool:
        """Tell whether no message will come any more; raise the reason if it was not asked for."""
        if self.state is ClientState.NEW:
            self.require_usable()
        if self.state is not ClientState.CLOSED:
            return False
        if self.error is not None:
            raise self.error.with_traceback(None)
        return True

    def _set_state(self, state: ClientState, reason: MqttwsError | None) -> None:
        self.state = state
        if state is not ClientState.CONNECTED and reason is not None:
            logger.info("%s: %s", state.value, reason)
        if self._on_state is not None:
            try:
                self._on_state(state, reason)
            except Exception:
                logger.exception("on_state failed")
