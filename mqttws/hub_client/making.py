"""Joins a hub client's options to those of the client that it stands on."""

from typing import Any

from ..client.client import AsyncClient
from ..hub.device.identity import HubIdentity
from ..hub.device.telemetry import TelemetryMessage
from ..wire import Will
from .access import HubAccess
from .bodies import message_of
from .upkeep import Upkeep

_ACCESS = (
    "transport", "host", "port", "tls", "api_version", "token_lifetime", "client_type", "model_id",
)  # fmt: skip
_CLIENT = (
    "keep_alive", "proxy", "connect_timeout", "hop_timeout", "request_timeout", "max_outgoing",
    "max_queued", "reconnect", "refused_login_retry", "store", "manual_ack", "on_step",
    "on_packet",
)  # fmt: skip


def make_upkeep(identity: HubIdentity, given: dict[str, Any]) -> Upkeep:
    """Return a hub client's upkeep, its client attached, from the options of ``HUB_CLIENT``."""
    access = HubAccess(identity, given["credential"], **{name: given[name] for name in _ACCESS})
    upkeep = Upkeep(
        access,
        provisioning=given["provisioning"],
        limit=given["provisioning_limit"],
        on_state=given["on_state"],
    )
    will = given["will"]
    client = AsyncClient(
        access.targets,
        client_id=identity.client_id,
        username=access.username,
        password=access.password,
        clean_session=False,
        will=None if will is None else _will(will, identity),
        tls=access.tls,
        on_state=upkeep.on_state,
        on_attempt_failed=upkeep.judge,
        **{name: given[name] for name in _CLIENT},
    )
    upkeep.attach(client)
    return upkeep


def _will(will: TelemetryMessage, identity: HubIdentity) -> Will:
    message = message_of(will)
    topic = message.topic(identity.device_id, identity.module_id)
    return Will(topic, message.body, qos=1)
