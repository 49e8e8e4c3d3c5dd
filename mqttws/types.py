"""The types in public signatures that have no place at the top: for annotations in programs.

>>> from mqttws.types import Credential, Store
"""

from .client.arguments import Payload
from .client.options import (
    Headers,
    HeadersOption,
    OnAttemptFailed,
    OnState,
    Password,
    Url,
    Urls,
)
from .client.store import Failed, FailedForgotten, Queued, Store, Stored, Unqueued
from .client.sync_results import SyncMessageStream, SyncReceipt
from .client.trace import OnPacket
from .doctor.report import Alternative, Request
from .dps.records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from .dps.store import Store as RecordStore
from .errors.base import Fields
from .hub.device.connection_string import ConnectionString
from .hub.service.access import Policy
from .hub.service.queue import Feedback
from .hub.service.records import HubStore
from .hub.service.telemetry import Telemetry
from .hub.service.throttles import Limits
from .hub_client.access import HubCredential, HubTransport, ShowsCertificate, SignsTokens
from .hub_client.bodies import Body
from .hub_client.methods import Handler
from .hub_client.upkeep import AssignedHub, Provisioning
from .local.dps import WayToDps
from .local.dps_events import DpsEvent
from .local.hub_base import MethodResult
from .local.hub_events import HubEvent
from .local.x509 import Issued
from .net.hops import OnStep
from .net.pem import Pem
from .net.proxy import ProxyChoice
from .net.target import Target
from .net.tls import Tls
from .provisioning.credentials import Credential
from .provisioning.issued import StoredCertificate
from .provisioning.pending import DeviceKey, PendingCertificate
from .provisioning.plan import Pipelined, Transport

__all__ = [
    "Alternative",
    "AssignedHub",
    "Body",
    "ConnectionString",
    "Credential",
    "DeviceKey",
    "DpsEvent",
    "EnrollmentGroup",
    "Failed",
    "FailedForgotten",
    "Feedback",
    "Fields",
    "Handler",
    "Headers",
    "HeadersOption",
    "HubCredential",
    "HubEvent",
    "HubStore",
    "HubTransport",
    "IndividualEnrollment",
    "Issued",
    "Limits",
    "MethodResult",
    "OnAttemptFailed",
    "OnPacket",
    "OnState",
    "OnStep",
    "Password",
    "PendingCertificate",
    "Payload",
    "Pem",
    "Pipelined",
    "Policy",
    "Provisioning",
    "ProxyChoice",
    "Queued",
    "RecordStore",
    "RegistrationRecord",
    "Request",
    "ShowsCertificate",
    "SignsTokens",
    "Store",
    "Stored",
    "StoredCertificate",
    "SyncMessageStream",
    "SyncReceipt",
    "Target",
    "Telemetry",
    "Tls",
    "Transport",
    "Unqueued",
    "Url",
    "Urls",
    "WayToDps",
]
