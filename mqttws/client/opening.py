"""One attempt at a connection: dialled, greeted, and given up if it fails.

Does not know whether another attempt follows, nor what the connection is used for.
"""

from collections.abc import Callable

from ..hops import Hop
from ..net.hops import Walk
from ..protocol import State
from ..wire import Connect
from .connector import Connector
from .link import Link
from .link_owner import Owner
from .options import Options
from .session_keeper import SessionKeeper
from .trace import tracer_for


class Opening:
    """A client's connection while it is being opened.

    Args:
        options: of the client.
        connector: dials.
        keeper: the session.
        owner: of the links.

    Attributes:
        link: the connection that is being opened; None without one.
        left: the connection that is being left in order; None before.
    """

    def __init__(
        self, options: Options, connector: Connector, keeper: SessionKeeper, owner: Owner
    ) -> None:
        self.link: Link | None = None
        self.left: Link | None = None
        self._options = options
        self._connector = connector
        self._keeper = keeper
        self._owner = owner
        self._count = 0

    async def attempt(self, walk: Walk, take: Callable[[Link, bool], None]) -> None:
        """Open a connection, bring the session up on it, and have it taken into use.

        Args:
            walk: the time limits.
            take: called with the link, and whether the server has kept the session.
        """
        stream = await self._connector.dial(walk, whole=self._keeper.oversized.alone)
        try:
            async with walk.hop(Hop.CONNECT, self._options.connect.client_id) as step:
                link = self._new_link(await self._connector.connect_packet())
                session_present = await link.open(stream)
                step.detail = "CONNACK 0, accepted"
            take(link, session_present)
        except BaseException:
            # One that the server has accepted is left with DISCONNECT, or the will is published.
            opening = self.link
            left = opening if opening is self.left else None
            if left is None or left.protocol.state is not State.CONNECTED:
                stream.abort()
                if opening is not None:
                    opening.abort()
            raise
        finally:
            self.link = None

    def _new_link(self, connect: Connect) -> Link:
        options = self._options
        self._count += 1
        link = self.link = Link(
            self._keeper.begin(connect),
            self._owner,
            journal=self._keeper.journal,
            tracer=tracer_for(options.max_packet_size, options.on_packet),
            number=self._count,
        )
        return link
