"""The client, as one of its connections sees it."""

from typing import TYPE_CHECKING, Protocol

from ..errors import MqttwsError
from ..protocol import Event, MessageReceived, PublishCompleted
from .store import Step

if TYPE_CHECKING:
    from .link import Link


class Owner(Protocol):
    """Handles what happens on a link."""

    def on_connected(self, link: "Link", session_present: bool) -> None:
        """Handle the server's acceptance of the connection."""

    def on_message(self, link: "Link", event: MessageReceived) -> None:
        """Handle a message."""

    def on_completed(self, event: PublishCompleted) -> None:
        """Handle the end of a message's handshake."""

    def on_oddity(self, link: "Link", event: Event) -> None:
        """Handle what the client reports and does not act upon."""

    def on_ready(self, link: "Link") -> None:
        """Handle that messages can be sent: the window or the socket has opened."""

    def take_steps(self) -> list[Step]:
        """Return what the store must know before anything more is sent."""

    def on_end(self, link: "Link", error: MqttwsError | None) -> None:
        """Handle the link's end; None if that was asked for. Called once."""
