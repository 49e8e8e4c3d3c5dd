"""A device's or module's identity at its hub, and what follows from it."""

from dataclasses import dataclass

from ...errors import UsageError
from ...text import shown
from ..topics import devicebound_filter, inputs_filter, telemetry_topic


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """A device, or a module of it, at a hub.

    Attributes:
        hub: the hub's full host name, as it calls itself.
        device_id: case counts.
        module_id: empty for the device itself.
    """

    hub: str
    device_id: str
    module_id: str = ""

    def __post_init__(self) -> None:
        for name in ("hub", "device_id", "module_id"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise UsageError(f"{name}: found {type(value).__name__}; allowed: str")
        if not self.hub or any(character in "/:@?# \t" for character in self.hub):
            raise UsageError(
                f"hub {shown(self.hub)}; allowed: a host name alone, such as my.azure-devices.net"
            )
        telemetry_topic(self.device_id, module_id=self.module_id)  # refuses what no topic can hold

    @property
    def client_id(self) -> str:
        """The ClientId of CONNECT."""
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    @property
    def resource(self) -> str:
        """The resource that a SAS token opens, not percent-encoded."""
        module = f"/modules/{self.module_id}" if self.module_id else ""
        return f"{self.hub}/devices/{self.device_id}{module}"

    @property
    def message_filter(self) -> str:
        """The topic filter of messages from the cloud, or of a module's inputs."""
        if self.module_id:
            return inputs_filter(self.device_id, self.module_id)
        return devicebound_filter(self.device_id)
