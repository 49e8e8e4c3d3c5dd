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
    from .client.client import AsyncClient
    from .client.message import ReceivedMessage
    from .client.options import ClientState
    from .client.receipt import Receipt
    from .client.sqlite import SqliteStore
    from .client.store import MemoryStore
    from .client.streams import MessageStream
    from .client.sync import Client
    from .doctor.examination import diagnose, diagnose_async
    from .doctor.report import Report
    from .dps.issuance import CredentialPolicy
    from .errors import (
        CertificateNotIssued,
        CertificateNotValid,
        CertificateRejected,
        ConnectFailed,
        ConnectionLost,
        ConnectRefused,
        DeliveryFailed,
        DeliveryUnknown,
        HopTimedOut,
        HubRequestRejected,
        KeepAliveExpired,
        MalformedAnswer,
        MalformedPacket,
        MqttwsError,
        NameNotResolved,
        PacketTooLarge,
        PortTaken,
        ProtocolError,
        ProvisioningError,
        ProxyRefused,
        QueueFull,
        RegistrationFailed,
        RegistrationRejected,
        RequestTimedOut,
        ServiceFailed,
        StoreDamaged,
        StoreFailed,
        StoreFull,
        StoreLocked,
        SubprotocolRefused,
        SubscribeRefused,
        TlsFailed,
        UnexpectedPacket,
        Unreachable,
        UnusableFile,
        UpgradeRefused,
        UsageError,
    )
    from .hops import Cause, CertificateFacts, Hop, Party
    from .hub.device.messages import CloudMessage
    from .hub.device.methods import MethodRequest, MethodResponse
    from .hub.device.telemetry import TelemetryMessage
    from .hub.device.twin import DesiredChange, Twin
    from .hub_client.client import AsyncHubClient
    from .hub_client.messages import CloudMessageStream
    from .hub_client.sync import HubClient
    from .hub_client.sync_results import SyncStream, TelemetryReceipt
    from .hub_client.twins import DesiredChanges
    from .local.dps import AsyncLocalDps
    from .local.hub import AsyncLocalHub
    from .local.hub_running import LocalHub
    from .local.running import LocalDps
    from .loop_thread import LoopThread
    from .net.hops import Step
    from .net.proxy import Challenge, Login, ProxyConfig
    from .net.tls import TlsConfig
    from .provisioning.assignment import Assignment
    from .provisioning.fleet import FleetResult, provision_fleet, provision_fleet_async
    from .provisioning.issued import CertificateStore
    from .provisioning.provision import provision, provision_async
    from .provisioning.steps import ProvisioningSteps
    from .provisioning.symmetric_key import SymmetricKey
    from .provisioning.x509 import ExternalKey, X509Certificate
    from .retry import Backoff
    from .wire import Will

_HOMES = {
    "provisioning.symmetric_key": ("SymmetricKey",),
    "errors": (
        "MqttwsError",
        "ProtocolError",
        "MalformedPacket",
        "PacketTooLarge",
        "UnexpectedPacket",
        "UsageError",
        "ConnectFailed",
        "NameNotResolved",
        "Unreachable",
        "HopTimedOut",
        "ProxyRefused",
        "TlsFailed",
        "CertificateRejected",
        "UpgradeRefused",
        "SubprotocolRefused",
        "ConnectRefused",
        "SubscribeRefused",
        "ConnectionLost",
        "DeliveryUnknown",
        "DeliveryFailed",
        "KeepAliveExpired",
        "RequestTimedOut",
        "QueueFull",
        "UnusableFile",
        "CertificateNotValid",
        "StoreFailed",
        "StoreFull",
        "StoreLocked",
        "StoreDamaged",
        "ServiceFailed",
        "PortTaken",
        "HubRequestRejected",
        "ProvisioningError",
        "RegistrationRejected",
        "RegistrationFailed",
        "CertificateNotIssued",
        "MalformedAnswer",
    ),
    "dps.issuance": ("CredentialPolicy",),
    "hops": ("Hop", "Cause", "Party", "CertificateFacts"),
    "hub.device.messages": ("CloudMessage",),
    "hub.device.methods": ("MethodRequest", "MethodResponse"),
    "hub.device.telemetry": ("TelemetryMessage",),
    "hub.device.twin": ("DesiredChange", "Twin"),
    "hub_client.client": ("AsyncHubClient",),
    "hub_client.messages": ("CloudMessageStream",),
    "hub_client.sync": ("HubClient",),
    "hub_client.sync_results": ("SyncStream", "TelemetryReceipt"),
    "hub_client.twins": ("DesiredChanges",),
    "doctor.examination": ("diagnose", "diagnose_async"),
    "doctor.report": ("Report",),
    "loop_thread": ("LoopThread",),
    "local.dps": ("AsyncLocalDps",),
    "local.hub_running": ("LocalHub",),
    "local.running": ("LocalDps",),
    "retry": ("Backoff",),
    "client.client": ("AsyncClient",),
    "net.hops": ("Step",),
    "client.message": ("ReceivedMessage",),
    "client.streams": ("MessageStream",),
    "client.options": ("ClientState",),
    "provisioning.issued": ("CertificateStore",),
    "provisioning.provision": ("provision", "provision_async"),
    "provisioning.steps": ("ProvisioningSteps",),
    "client.receipt": ("Receipt",),
    "client.sqlite": ("SqliteStore",),
    "client.sync": ("Client",),
    "client.store": ("MemoryStore",),
    "local.hub": ("AsyncLocalHub",),
    "provisioning.fleet": ("provision_fleet", "provision_fleet_async", "FleetResult"),
    "provisioning.assignment": ("Assignment",),
    "net.proxy": ("ProxyConfig", "Login", "Challenge"),
    "net.tls": ("TlsConfig",),
    "provisioning.x509": ("X509Certificate", "ExternalKey"),
    "wire": ("Will",),
}
"""Where each public name lives."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"

__all__ = [
    "provision",
    "provision_async",
    "ProvisioningSteps",
    "provision_fleet",
    "provision_fleet_async",
    "FleetResult",
    "SymmetricKey",
    "X509Certificate",
    "ExternalKey",
    "CertificateStore",
    "Assignment",
    "AsyncHubClient",
    "HubClient",
    "SyncStream",
    "TelemetryReceipt",
    "TelemetryMessage",
    "CloudMessage",
    "CloudMessageStream",
    "MethodRequest",
    "MethodResponse",
    "Twin",
    "DesiredChange",
    "DesiredChanges",
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
    "Cause",
    "Party",
    "LoopThread",
    "CredentialPolicy",
    "LocalDps",
    "AsyncLocalDps",
    "LocalHub",
    "AsyncLocalHub",
    "diagnose",
    "diagnose_async",
    "Report",
    "MqttwsError",
    "ProtocolError",
    "MalformedPacket",
    "PacketTooLarge",
    "UnexpectedPacket",
    "UsageError",
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
    "DeliveryUnknown",
    "DeliveryFailed",
    "KeepAliveExpired",
    "RequestTimedOut",
    "QueueFull",
    "UnusableFile",
    "CertificateNotValid",
    "StoreFailed",
    "StoreFull",
    "StoreLocked",
    "StoreDamaged",
    "ServiceFailed",
    "PortTaken",
    "HubRequestRejected",
    "ProvisioningError",
    "RegistrationRejected",
    "RegistrationFailed",
    "CertificateNotIssued",
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
