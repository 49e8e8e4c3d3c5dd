"""Every option of the public calls: its default, its allowed values, one sentence.

A call checks its arguments with its table, as its first act: ``CLIENT.check(locals())``. To add an
option: give it a line here, in the table of each call that takes it, and a parameter there; a test
compares names and defaults. Knows values only: an object is judged by the name of its class, or by
the members that it must have, so that this module needs none of the others.
"""

from .client import CLIENT, SYNC_CLIENT
from .hub_client import ASSIGNED_CLIENT, HUB_CLIENT, SYNC_HUB_CLIENT
from .local import LOCAL_DPS, SYNC_LOCAL_DPS
from .option import (
    MAX_SECONDS,
    PROVISIONING_HOST,
    REQUIRED,
    WEBSOCKET_PATH,
    Option,
    Table,
    Test,
    given,
)
from .provisioning import DIAGNOSE, FLEET, PROVISION

__all__ = [
    "ASSIGNED_CLIENT",
    "CLIENT",
    "DIAGNOSE",
    "FLEET",
    "HUB_CLIENT",
    "LOCAL_DPS",
    "MAX_SECONDS",
    "Option",
    "PROVISION",
    "PROVISIONING_HOST",
    "REQUIRED",
    "SYNC_CLIENT",
    "SYNC_HUB_CLIENT",
    "SYNC_LOCAL_DPS",
    "Table",
    "Test",
    "WEBSOCKET_PATH",
    "given",
]
