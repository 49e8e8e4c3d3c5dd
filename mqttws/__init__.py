"""MQTT 3.1.1 over WebSocket and TLS, and Azure IoT device provisioning (DPS) on top.

>>> import mqttws
>>> credential = mqttws.SymmetricKey("my-device", device_key)
>>> assignment = mqttws.provision("0ne00ABCDEF", credential)
>>> print(assignment.assigned_hub, assignment.device_id, assignment.substatus)

Names are loaded when they are first used, so that ``import mqttws`` costs next to nothing. The
codec alone is ``mqttws.wire``, the connection without I/O ``mqttws.protocol``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .doctor.examination import diagnose, diagnose_async
    from .doctor.report import Report
    from .dps.credentials import SymmetricKey
    from .errors import (
        CertificateFacts,
        CertificateRejected,
        ConnectFailed,
        ConnectionLost,
        ConnectRefused,
        Hop,
        HopTimedOut,
        KeepAliveExpired,
        MalformedAnswer,
        MalformedPacket,
        MqttwsError,
        NameNotResolved,
        PacketTooLarge,
        ProtocolError,
        ProvisioningError,
        ProxyRefused,
        QueueFull,
        RegistrationFailed,
        RegistrationRejected,
        RequestTimedOut,
        StoreFailed,
        SubprotocolRefused,
        SubscribeRefused,
        TlsFailed,
        UnexpectedPacket,
        Unreachable,
        UnsupportedAttestation,
        UpgradeRefused,
        UsageError,
    )
    from .local.dps import LocalDps
    from .local.hub import LocalHub
    from .net.backoff import Backoff
    from .net.client import AsyncClient
    from .net.hops import Step
    from .net.hub import Assignment
    from .net.inbox import MessageStream, ReceivedMessage
    from .net.options import ClientState
    from .net.provisioning import ProvisioningSteps, provision, provision_async
    from .net.proxy import Challenge, Login, ProxyConfig
    from .net.receipt import Receipt
    from .net.sqlite import SqliteStore
    from .net.store import MemoryStore
    from .net.sync import Client
    from .net.tls import TlsConfig
    from .net.x509 import Tpm, X509Certificate
    from .wire import Will

_HOMES = {
    "dps.credentials": ("SymmetricKey",),
    "errors": (
        "MqttwsError",
        "ProtocolError",
        "MalformedPacket",
        "PacketTooLarge",
        "UnexpectedPacket",
        "UsageError",
        "UnsupportedAttestation",
        "ConnectFailed",
        "NameNotResolved",
        "Unreachable",
        "HopTimedOut",
        "ProxyRefused",
        "TlsFailed",
        "CertificateRejected",
        "CertificateFacts",
        "UpgradeRefused",
        "SubprotocolRefused",
        "ConnectRefused",
        "SubscribeRefused",
        "ConnectionLost",
        "KeepAliveExpired",
        "RequestTimedOut",
        "QueueFull",
        "StoreFailed",
        "ProvisioningError",
        "RegistrationRejected",
        "RegistrationFailed",
        "MalformedAnswer",
        "Hop",
    ),
    "doctor.examination": ("diagnose", "diagnose_async"),
    "doctor.report": ("Report",),
    "local.dps": ("LocalDps",),
    "net.backoff": ("Backoff",),
    "net.client": ("AsyncClient",),
    "net.hops": ("Step",),
    "net.inbox": ("MessageStream", "ReceivedMessage"),
    "net.options": ("ClientState",),
    "net.provisioning": ("provision", "provision_async", "ProvisioningSteps"),
    "net.receipt": ("Receipt",),
    "net.sqlite": ("SqliteStore",),
    "net.sync": ("Client",),
    "net.store": ("MemoryStore",),
    "local.hub": ("LocalHub",),
    "net.hub": ("Assignment",),
    "net.proxy": ("ProxyConfig", "Login", "Challenge"),
    "net.tls": ("TlsConfig",),
    "net.x509": ("X509Certificate", "Tpm"),
    "wire": ("Will",),
}
"""Where each public name lives."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"

__all__ = [
    "provision",
    "provision_async",
    "ProvisioningSteps",
    "SymmetricKey",
    "X509Certificate",
    "Tpm",
    "Assignment",
    "AsyncClient",
    "Client",
    "ReceivedMessage",
    "MessageStream",
    "Receipt",
    "ClientState",
    "Backoff",
    "MemoryStore",
    "SqliteStore",
    "Will",
    "TlsConfig",
    "ProxyConfig",
    "Login",
    "Challenge",
    "Step",
    "Hop",
    "LocalDps",
    "LocalHub",
    "diagnose",
    "diagnose_async",
    "Report",
    "MqttwsError",
    "ProtocolError",
    "MalformedPacket",
    "PacketTooLarge",
    "UnexpectedPacket",
    "UsageError",
    "UnsupportedAttestation",
    "ConnectFailed",
    "NameNotResolved",
    "Unreachable",
    "HopTimedOut",
    "ProxyRefused",
    "TlsFailed",
    "CertificateRejected",
    "CertificateFacts",
    "UpgradeRefused",
    "SubprotocolRefused",
    "ConnectRefused",
    "SubscribeRefused",
    "ConnectionLost",
    "KeepAliveExpired",
    "RequestTimedOut",
    "QueueFull",
    "StoreFailed",
    "ProvisioningError",
    "RegistrationRejected",
    "RegistrationFailed",
    "MalformedAnswer",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
