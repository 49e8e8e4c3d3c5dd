"""Every option of the public calls: its default, its allowed values, one sentence.

A call checks its arguments with its table, as its first act: ``CLIENT.check(locals())``. To add an
option: give it a line here, in the table of each call that takes it, and a parameter there; a test
compares names and defaults. Knows values only: an object is judged by the name of its class, or by
the members that it must have, so that this module needs none of the others.
"""

from .calls import (
    CREATE_DEVICE,
    DEVICE,
    ENROLL,
    ENROLL_DEVICE,
    FAILED,
    INVOKE,
    LEAVE,
    LOGIN,
    METHOD,
    PATCH,
    PATCH_TWIN,
    PROXY,
    PUBLISH,
    REDIRECT,
    SEND,
    SEND_BATCH,
    SQLITE_STORE,
    SUBSCRIBE,
    THREAD_NAME,
    TLS,
    WAIT,
    X509,
)
from .client import CLIENT, SYNC_CLIENT
from .hub_client import (
    ASSIGNED_CLIENT,
    ASSIGNED_HUB_CLIENT,
    HUB_CLIENT,
    SYNC_ASSIGNED_CLIENT,
    SYNC_ASSIGNED_HUB_CLIENT,
    SYNC_HUB_CLIENT,
    TELEMETRY,
)
from .local import LOCAL_DPS, LOCAL_HUB, OWN_DPS, SYNC_LOCAL_DPS, SYNC_LOCAL_HUB
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
    "CREATE_DEVICE",
    "DEVICE",
    "ENROLL",
    "ENROLL_DEVICE",
    "FAILED",
    "INVOKE",
    "LEAVE",
    "LOGIN",
    "METHOD",
    "PATCH",
    "PATCH_TWIN",
    "PROXY",
    "PUBLISH",
    "REDIRECT",
    "SEND",
    "SEND_BATCH",
    "SQLITE_STORE",
    "SUBSCRIBE",
    "THREAD_NAME",
    "TLS",
    "WAIT",
    "X509",
    "ASSIGNED_CLIENT",
    "ASSIGNED_HUB_CLIENT",
    "CLIENT",
    "DIAGNOSE",
    "FLEET",
    "HUB_CLIENT",
    "LOCAL_DPS",
    "LOCAL_HUB",
    "MAX_SECONDS",
    "OWN_DPS",
    "Option",
    "PROVISION",
    "PROVISIONING_HOST",
    "REQUIRED",
    "SYNC_ASSIGNED_CLIENT",
    "SYNC_ASSIGNED_HUB_CLIENT",
    "SYNC_CLIENT",
    "SYNC_HUB_CLIENT",
    "SYNC_LOCAL_DPS",
    "SYNC_LOCAL_HUB",
    "TELEMETRY",
    "Table",
    "Test",
    "WEBSOCKET_PATH",
    "given",
]
