"""Here ``local_dps`` is what a user's tests are given."""

from mqttws.pytest_plugin import _local_dps_state, local_dps, local_dps_options

__all__ = ["_local_dps_state", "local_dps", "local_dps_options"]
