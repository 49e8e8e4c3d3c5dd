"""Assignment: a device's place; its clients are made by ``assigned_clients`` and its neighbour."""

from dataclasses import dataclass, fields, replace
from typing import Any

from ..dps.assignment import RegistrationResult
from ..errors import UsageError
from ..options import ASSIGNMENT, HOLDING
from .assigned_clients import AssignedClients
from .assigned_hub_clients import AssignedHubClients
from .credentials import Credential


@dataclass(frozen=True)
class Assignment(RegistrationResult, AssignedClients, AssignedHubClients):
    """A device's assigned hub and device id, and how to connect there.

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

    Raises:
        UsageError: the hub or the device id cannot be one, or another member is no text.
    """

    def __post_init__(self) -> None:
        ASSIGNMENT.check({field.name: getattr(self, field.name) for field in fields(self)})
        if self.fault() is not None:
            raise UsageError(f"Assignment: {self.fault()}")

    def _holding(self, credential: Credential) -> "Assignment":
        """Return the same assignment with the credential for ``client``.

        It is in no text, pickle, file or comparison; a copy holds none.
        """
        HOLDING.check(locals())
        held = replace(self)
        object.__setattr__(held, "_credential", credential)
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
