"""Every exception of mqttws, in one tree.

MqttwsError                         .hop .cause .party .retryable .hint: of every error
├── ProtocolError                   the peer broke the rules; the connection is over   .rule
│   ├── MalformedPacket             bytes that no packet can be     .found .allowed .offset
│   ├── PacketTooLarge              longer than we agreed to read   .size .limit
│   └── UnexpectedPacket            a good packet at the wrong time
├── UsageError (ValueError)         the caller's mistake; nothing was sent             .rule
├── ConnectFailed                   no connection was made; .hop says where it ended
│   ├── NameNotResolved
│   ├── Unreachable                 refused, dropped, no route
│   ├── HopTimedOut (TimeoutError)  the peer said nothing within a hop's time
│   ├── ProxyRefused                .status .challenge
│   ├── TlsFailed
│   │   └── CertificateRejected     .reason .certificate
│   ├── UpgradeRefused              .status .reason
│   ├── SubprotocolRefused          .offered .answered
│   └── ConnectRefused              CONNACK said no                 .return_code
├── SubscribeRefused                SUBACK said no                  .topic_filter
├── ConnectionLost                  closed under us                 .close_code .close_reason
│   └── KeepAliveExpired
│   └── DeliveryUnknown             may have arrived, or not        .topic .payload .qos .retain
├── DeliveryFailed                  a message was given up          .topic
├── RequestTimedOut (TimeoutError)  a peer did not answer in time
├── QueueFull                       a bound on what may wait was reached
├── UnusableFile                    a file to be read: missing, unreadable, damaged    .file
├── CertificateNotValid             this device's own has expired, or begins later
├── StoreFailed                     a file that keeps state cannot be opened, read or written
│   ├── StoreFull                   the disk, or a quota, is full
│   ├── StoreLocked                 another process uses it
│   └── StoreDamaged                its content is not what was once written
├── HubRequestRejected              the hub answered an error       .status .error_code .tracking_id
├── ServiceFailed                   a local service cannot start, or cannot go on
│   └── PortTaken
└── ProvisioningError
    ├── RegistrationRejected        an error status         .status .error_code .tracking_id
    ├── RegistrationFailed          ended failed or disabled        .state .error_code
    ├── CertificateNotIssued        no certificate came, or one that cannot be used
    └── MalformedAnswer             the service's answer cannot be read

The class says which step failed; ``cause``, ``party`` and ``retryable`` say why, as data; the
sentence says what was found and what was allowed. No message holds a key, a password or a token.
"""

from .base import MqttwsError, UsageError
from .connection import (
    CertificateRejected,
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    DeliveryFailed,
    DeliveryUnknown,
    HopTimedOut,
    KeepAliveExpired,
    NameNotResolved,
    ProxyRefused,
    QueueFull,
    RequestTimedOut,
    SubprotocolRefused,
    SubscribeRefused,
    TlsFailed,
    Unreachable,
    UpgradeRefused,
)
from .hub import HubRequestRejected
from .local import (
    CertificateNotValid,
    PortTaken,
    ServiceFailed,
    StoreDamaged,
    StoreFailed,
    StoreFull,
    StoreLocked,
    UnusableFile,
    store_failed,
    unreadable_file,
)
from .protocol import MalformedPacket, PacketTooLarge, ProtocolError, UnexpectedPacket
from .provisioning import (
    CertificateNotIssued,
    MalformedAnswer,
    ProvisioningError,
    RegistrationFailed,
    RegistrationRejected,
)

__all__ = [
    "CertificateNotIssued",
    "CertificateNotValid",
    "CertificateRejected",
    "ConnectFailed",
    "ConnectRefused",
    "ConnectionLost",
    "DeliveryUnknown",
    "DeliveryFailed",
    "HopTimedOut",
    "HubRequestRejected",
    "KeepAliveExpired",
    "MalformedAnswer",
    "MalformedPacket",
    "MqttwsError",
    "NameNotResolved",
    "PacketTooLarge",
    "PortTaken",
    "ProtocolError",
    "ProvisioningError",
    "ProxyRefused",
    "QueueFull",
    "RegistrationFailed",
    "RegistrationRejected",
    "RequestTimedOut",
    "ServiceFailed",
    "StoreDamaged",
    "StoreFailed",
    "StoreFull",
    "StoreLocked",
    "SubprotocolRefused",
    "SubscribeRefused",
    "TlsFailed",
    "UnexpectedPacket",
    "Unreachable",
    "UnusableFile",
    "UpgradeRefused",
    "UsageError",
    "store_failed",
    "unreadable_file",
]
