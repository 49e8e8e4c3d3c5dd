"""The plain part of a hub client: its identity, its state, telemetry and its certificate."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ..client.client import AsyncClient
from ..client.options import ClientState
from ..client.receipt import Receipt
from ..hub.device.identity import HubIdentity
from ..options import RENEW, SEND_BATCH, TELEMETRY
from .bodies import Body, message_of
from .certificates import CertificateRenewal
from .upkeep import Upkeep

RENEWAL_TIMEOUT = 120.0
"""Seconds for a certificate: as long as the C SDK waits."""


class HubDevice:
    """A device or module with a connection to its hub: who it is, and what it sends."""

    _client: AsyncClient
    _identity: HubIdentity
    _upkeep: Upkeep
    _renewal: CertificateRenewal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._upkeep.access.identity.resource} {self.state.value}>"

    @property
    def hub(self) -> str:
        """The hub's host name; another one after the device was moved."""
        return self._upkeep.access.identity.hub

    @property
    def device_id(self) -> str:
        """The device's name at the hub."""
        return self._identity.device_id

    @property
    def module_id(self) -> str:
        """The module's name; empty for the device itself."""
        return self._identity.module_id

    @property
    def state(self) -> ClientState:
        """The client's state."""
        return self._client.state

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._client.connected

    async def send_telemetry(
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
        """Send a message to the hub; return when the hub has stored it.

        Args:
            body: bytes, text (sent as UTF-8), a dict or list (sent as JSON, with its content type
                and encoding), or a ``TelemetryMessage``, which brings all of the rest. At most 256
                KB together with the properties.
            properties: the application's own by name; None for a name without a value.
            content_type: such as ``application/json``; empty for none, or for the body's own.
            content_encoding: such as ``utf-8``; empty for none, or for the body's own.
            message_id: at most 128 characters.
            correlation_id: of the request that it answers; empty for none.
            user_id: of the one who has produced it; empty for none.
            creation_time: with a time zone.
            output: a module's, for routes of an edge device.
            component: of a Plug and Play model.

        Raises:
            UsageError: the message is too large or not allowed; nothing was sent.
            RequestTimedOut: it was not confirmed within ``request_timeout``; what was accepted is
                sent again until it is, and the error says so.
            MqttwsError: why the client has ended.
        """
        topic, raw = self._telemetry(body, TELEMETRY.check(locals()))
        await self._client.publish(topic, raw, qos=1)

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
    ) -> Receipt:
        """Send a message and return at once; await the receipt for the hub's confirmation.

        Arguments as for ``send_telemetry``.

        Raises:
            QueueFull: ``max_outgoing`` is reached; nothing was sent.
            UsageError: the message is too large or not allowed; nothing was sent.
        """
        topic, raw = self._telemetry(body, TELEMETRY.check(locals()))
        return self._client.publish_nowait(topic, raw, qos=1)

    async def send_batch(self, bodies: Iterable[Body]) -> None:
        """Send several messages together; return when the hub has stored all of them.

        Over MQTT a batch is as many messages, sent in order without waiting in between.

        Args:
            bodies: as for ``send_telemetry``; all are checked before the first is sent.

        Raises:
            UsageError: one is too large or not allowed; nothing was sent.
            RequestTimedOut, MqttwsError: as for ``send_telemetry``, for the first that failed.
        """
        SEND_BATCH.check(locals())
        messages = [self._telemetry(body, {}) for body in bodies]
        publish = self._client.publish
        results = await asyncio.gather(
            *(publish(topic, raw, qos=1) for topic, raw in messages), return_exceptions=True
        )
        for result in results:
            if result is not None:
                raise result

    async def renew_certificate(self, timeout: float = RENEWAL_TIMEOUT) -> None:
        """Have the hub issue another certificate, store it, and connect with it.

        For a client made with a ``CertificateStore``. The connection stays until the new
        certificate is stored. A request that a connection is lost to is sent again; throttling
        (429) and the hub's own trouble (5xx) are waited for as it says, within ``timeout``. If the
        hub then refuses the new certificate, the one before is used again, and this raises.

        Args:
            timeout: seconds for all of it.

        Raises:
            CertificateNotIssued: the hub does not know certificate requests, sent no certificate,
                or one that cannot be used; the present one stays in use.
            HubRequestRejected: the hub refused; ``retryable`` says whether to ask again later.
            StoreFailed: the certificate cannot be stored.
            RequestTimedOut: it was not done within ``timeout``.
            UsageError: the credential is no ``CertificateStore``, or the client is not connected.
            MqttwsError: why the client has ended.
        """
        RENEW.check(locals())
        await self._renewal.renew(timeout)

    def _telemetry(self, body: Body, fields: dict[str, Any]) -> tuple[str, bytes]:
        message = message_of(body, **fields)
        identity = self._identity
        return message.topic(identity.device_id, identity.module_id), message.body
