"""Here ``local_dps`` is what a user's tests are given."""

from mqttws.pytest_plugin import (
    _local_dps_state,
    async_local_dps,
    async_local_dps_session,
    local_dps,
    local_dps_module,
    local_dps_options,
    local_dps_session,
)

__all__ = [
    "_local_dps_state",
    "async_local_dps",
    "async_local_dps_session",
    "local_dps",
    "local_dps_module",
    "local_dps_options",
    "local_dps_session",
]
