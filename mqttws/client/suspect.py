"""Whether the same thing ends one connection after another, and what is to be done about it.

A message that a server will not take, or a subscription that makes it leave, is sent again on each
connection and ends each. The rule: after ``LOSSES`` losses with the same oldest thing, it goes
alone, so that it holds up the rest no longer than it must; it is given up when the server itself
has then ended ``REFUSALS`` connections after taking it whole. A network that fails condemns
nothing; a server that takes it, stays and does not answer acquits it: the rest follows.
"""

LOSSES = 3
"""Losses with the same oldest thing after which it is sent alone."""

REFUSALS = 3
"""Connections that the server must end after taking it, alone and whole, before it is given up."""


class Suspect:
    """Counts the losses with the same oldest thing.

    Attributes:
        oldest: what was oldest, and unanswered, at the last loss; None before, and if nothing was.
    """

    def __init__(self) -> None:
        self.oldest: object = None
        self._losses = 0
        self._refusals = 0

    @property
    def alone(self) -> bool:
        """Whether the oldest thing is to be sent alone."""
        return self._losses >= LOSSES

    def note_loss(self, oldest: object, refused: bool) -> bool:
        """Count a lost connection; return whether the oldest thing is to be given up.

        Args:
            oldest: what was oldest and unanswered on it; None for nothing.
            refused: whether the server itself ended it, having taken all that was sent.
        """
        if oldest is None or oldest is not self.oldest:
            self.oldest = oldest
            self._losses = 0 if oldest is None else 1
            self._refusals = 0
            return False
        if self.alone and refused:
            self._refusals += 1
        self._losses += 1
        if self._refusals >= REFUSALS:
            self.clear()
            return True
        return False

    def clear(self) -> None:
        """Forget it: it has been answered, or given up."""
        self.oldest = None
        self._losses = self._refusals = 0
