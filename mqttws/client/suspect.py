"""Whether the same thing ends one connection after another, and what is to be done about it.

A message that a server will not take, or a subscription that makes it leave, is sent again on each
connection and ends each. The rule: after ``LOSSES`` losses with the same oldest thing, it goes
alone, so that it holds up the rest no longer than it must; it is given up when the server itself
has then ended ``REFUSALS`` connections after taking it whole, the last of them after one had held
without it: the same one, or one that was lost much later than it takes the server to leave. A
network that fails condemns nothing: what closes each connection in order, as some gateways do,
closes those too on which it is held back. A server that takes it, stays and does not answer acquits
it: the rest follows.
"""

LOSSES = 3
"""Losses with the same oldest thing after which it is sent alone."""

REFUSALS = 3
"""Connections that the server must end after taking it, alone and whole, before it is given up."""

HOLD = 1.0
"""Seconds for which the last of these must hold without it; more where they took longer to end."""


class Suspect:
    """Counts the losses with the same oldest thing.

    Attributes:
        oldest: what was oldest, and unanswered, at the last loss; None before, and if nothing was.
    """

    def __init__(self) -> None:
        self.oldest: object = None
        self._losses = 0
        self._refusals = 0
        self._lasted = 0.0  # seconds: the longest that a server took to end a connection for it
        self._held = 0.0  # seconds: for which a connection held without it, before it was lost

    @property
    def alone(self) -> bool:
        """Whether the oldest thing is to be sent alone."""
        return self._losses >= LOSSES

    @property
    def hold(self) -> float:
        """Seconds for which a connection must hold before it is sent on it; 0: it is sent at once.

        Twice as long as the server ever took to leave, so that chance does not look like it.
        """
        if self._refusals < REFUSALS - 1 or self._held:
            return 0.0
        return max(HOLD, 2 * self._lasted)

    def note_loss(self, oldest: object, refused: float | None) -> bool:
        """Count a lost connection; return whether the oldest thing is to be given up.

        Args:
            oldest: what was oldest and unanswered on it; None for nothing.
            refused: seconds after which the server itself ended it, having taken all that was sent;
                None where it did not.
        """
        if oldest is None or oldest is not self.oldest:
            self.clear()
            self.oldest = oldest
            self._losses = 0 if oldest is None else 1
            return False
        if self.alone and refused is not None:
            held = self.hold or self._held
            if not held or refused <= held:  # else it held no longer without it
                self._refusals += 1
            self._lasted = max(self._lasted, refused)
            self._held = 0.0
        self._losses += 1
        if self._refusals >= REFUSALS:
            self.clear()
            return True
        return False

    def note_cut(self, lasted: float) -> None:
        """Count a connection that was lost while it was held back.

        The network is to blame, unless the connection had lasted far longer than those with it.

        Args:
            lasted: seconds for which there was the connection.
        """
        if lasted >= max(HOLD / 4, 4 * self._lasted):
            self._held = lasted
        else:
            self._refusals = 0

    def clear(self) -> None:
        """Forget it: it has been answered, or given up."""
        self.oldest = None
        self._losses = self._refusals = 0
        self._lasted = self._held = 0.0
