"""The assignment that ends a registration: its members, and whether they can be used.

An assigned device connects with these values and may keep them in a file, so they are checked where
they come in: host name and device id by the rules that hold for an enrollment. Does not know how
they travel.
"""

from dataclasses import dataclass
from typing import Any

from ..errors import MalformedAnswer, RegistrationFailed
from ..text import shown
from .names import DEVICE_ID_RULE, HOST_NAME_RULE, is_device_id, is_host_name

CLASSIC = "classic"
MQTT_V5 = "mqttV5"
"""Values of ``connectionProfile`` (device API 2026-11-02-preview): which protocol the hub speaks;
the set is open, and absent or null mean ``classic``."""


@dataclass(frozen=True)
class RegistrationResult:
    """A device's assigned hub and device id.

    Attributes:
        assigned_hub: host name of the IoT hub.
        device_id: the device's name there; case-sensitive at the hub, unlike at DPS.
        substatus: ``initialAssignment``, ``deviceDataMigrated``, ``deviceDataReset`` or
            ``reprovisionedToInitialAssignment``; empty where the service gave none.
        registration_id: the device's name at DPS.
        operation_id: of the registration that led here.
        payload: the custom allocation's answer, as JSON gives it; None if there was none.
        created: when the registration was made, ISO 8601, as the service wrote it.
        last_updated: when it changed last, in the same form.
        etag: the registration's version.
    """

    assigned_hub: str
    device_id: str
    substatus: str
    registration_id: str
    operation_id: str
    payload: Any = None
    created: str = ""
    last_updated: str = ""
    etag: str = ""

    def fault(self) -> str | None:
        """Return which member cannot be used, with what is allowed; None if all can."""
        if not is_host_name(self.assigned_hub):
            return f"assignedHub {shown(self.assigned_hub)}; allowed: {HOST_NAME_RULE}"
        if not is_device_id(self.device_id):
            return f"deviceId {shown(self.device_id)}; allowed: {DEVICE_ID_RULE}"
        return None


def read_assignment(
    body: dict[str, Any], operation_id: str, registration_id: str
) -> RegistrationResult:
    """Return the assignment in a RegistrationOperationStatus of status ``assigned``.

    Raises:
        MalformedAnswer: hub or device id are missing, or cannot be used.
        RegistrationFailed: the assigned hub does not speak MQTT 3.1.1.
    """
    state = read_state(body)
    named = read_text(state, "registrationId")
    if named and named.lower() != registration_id.lower():
        raise MalformedAnswer(
            f"DPS says 'assigned' for the registration id {shown(named)}; allowed: that of this"
            f" device, {shown(registration_id)}"
        )
    for name in ("assignedHub", "deviceId"):
        if state.get(name) is None:
            raise MalformedAnswer(f"DPS says 'assigned' but gives no registrationState.{name}")
        if not isinstance(state[name], str):
            raise MalformedAnswer(
                f"DPS says 'assigned' with {name} {shown(state[name])}; allowed: a JSON string"
            )
    assignment = RegistrationResult(
        assigned_hub=state["assignedHub"],
        device_id=state["deviceId"],
        substatus=read_text(state, "substatus"),
        registration_id=named or registration_id,
        operation_id=operation_id,
        payload=state.get("payload"),
        created=read_text(state, "createdDateTimeUtc"),
        last_updated=read_text(state, "lastUpdatedDateTimeUtc"),
        etag=read_text(state, "etag"),
    )
    if fault := assignment.fault():
        raise MalformedAnswer(f"DPS says 'assigned' with {fault}")
    _check_profile(state.get("connectionProfile"), assignment.assigned_hub)
    return assignment


def _check_profile(profile: object, hub: str) -> None:
    """Refuse a hub that this package cannot speak to."""
    if profile is None or profile == CLASSIC:
        return
    if profile == MQTT_V5:
        raise RegistrationFailed(
            f"the assigned hub {hub} speaks MQTT 5 only (connectionProfile 'mqttV5'), and this"
            " client speaks MQTT 3.1.1",
            hint="link a hub with the classic connection profile to the DPS instance",
            state="assigned",
        )
    raise RegistrationFailed(
        f"the assigned hub {hub} has connectionProfile {shown(profile)}; allowed: 'classic'",
        hint="a newer version of this package may know this profile; else link another hub",
        state="assigned",
    )


def read_state(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body's ``registrationState``; empty where it is missing or no object."""
    state = body.get("registrationState")
    return state if isinstance(state, dict) else {}


def read_text(members: dict[str, Any], name: str) -> str:
    """Return a member's text; empty where it is missing or no text.

    JSON can escape half a character, which no encoding takes: it stays written out as its escape.
    """
    value = members.get(name)
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else ""
