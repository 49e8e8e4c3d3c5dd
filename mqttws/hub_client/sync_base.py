"""The plain part of a synchronous hub client: its identity and state, and sending telemetry."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from ..client.begun import begin_publish
from ..client.options import ClientState
from ..client.receipt import Receipt
from ..loop_thread import Work
from ..options import SEND_BATCH, TELEMETRY
from .bodies import Body
from .client import AsyncHubClient
from .sync_results import TelemetryReceipt

T = TypeVar("T")


class SyncHubDevice:
    """A device or module with a connection to its hub: who it is, and what it sends."""

    _client: AsyncHubClient
    _open: bool

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncHubClient", "HubClient", 1)

    @property
    def hub(self) -> str:
        """The hub's host name; another one after the device was moved."""
        return self._client.hub

    @property
    def device_id(self) -> str:
        """The device's name at the hub."""
        return self._client.device_id

    @property
    def module_id(self) -> str:
        """The module's name; empty for the device itself."""
        return self._client.module_id

    @property
    def state(self) -> ClientState:
        """The client's state."""
        return self._client.state

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._client.connected

    def send_telemetry(
        self,
        body: Body = b"",
        *,
        properties: Mapping[str, str | None] | None = None,
        content_type: str = "",
        content_encoding: str = "",
        message_id: str = "",
        correlation_id: str = "",
        user_id: str = "",
        creation_time: datetime | None = None,
        output: str = "",
        component: str = "",
    ) -> None:
        """Send a message to the hub; as ``AsyncHubClient.send_telemetry``."""
        fields = TELEMETRY.check(locals())
        topic, raw = self._client._telemetry(body, fields)
        self._call(partial(begin_publish, self._client._client, topic, raw, 1))

    def send_telemetry_nowait(
        self,
        body: Body = b"",
        *,
        properties: Mapping[str, str | None] | None = None,
        content_type: str = "",
        content_encoding: str = "",
        message_id: str = "",
        correlation_id: str = "",
        user_id: str = "",
        creation_time: datetime | None = None,
        output: str = "",
        component: str = "",
    ) -> TelemetryReceipt:
        """Send a message without waiting; as ``AsyncHubClient.send_telemetry_nowait``."""
        fields = TELEMETRY.check(locals())

        async def send() -> Receipt:
            return self._client.send_telemetry_nowait(body, **fields)

        return TelemetryReceipt(self, self._call(send))

    def send_batch(self, bodies: Iterable[Body]) -> None:
        """Send several messages together; as ``AsyncHubClient.send_batch``."""
        SEND_BATCH.check(locals())
        given = list(bodies)
        self._call(lambda: self._client.send_batch(given))

    def _call(self, work: Work[T]) -> T:
        """Do something on the loop and wait for its end."""
        raise NotImplementedError
