"""The properties that both clients have."""

from ..options import FAILED
from ..wire import Publish
from .engine import Engine
from .options import ClientState


class Facts:
    """A client's state, as far as it can be seen."""

    _engine: Engine

    @property
    def url(self) -> str:
        """The URL that is tried first: of several, the one that worked; without its query."""
        targets = self._engine.connector.targets
        return targets[0].url.partition("?")[0] if targets else "a URL made for each connection"

    @property
    def state(self) -> ClientState:
        """The client's state."""
        return self._engine.state

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._engine.link is not None

    @property
    def session_present(self) -> bool:
        """Whether the server had kept an earlier session when it last accepted a connection."""
        return self._engine.session_present

    @property
    def unmatched(self) -> int:
        """Number of messages that fitted no open stream, and were acknowledged or of QoS 0."""
        return self._engine.inbox.unmatched

    @property
    def ignored(self) -> int:
        """Number of the server's acknowledgements that fitted no exchange, and were ignored."""
        return self._engine.troubles.ignored

    def failed(self, *, forget: bool = False) -> list[tuple[Publish, str]]:
        """Return the messages that were given up while no caller waited for them, and why.

        The server ended each connection for them. With a store they are kept there.

        Args:
            forget: whether the list is emptied.
        """
        FAILED.check(locals())
        return self._engine.keeper.failed(forget)
