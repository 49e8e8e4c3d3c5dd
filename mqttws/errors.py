"""Every exception of mqttws, in one tree.

MqttwsError                         .hint: what to do next
├── ProtocolError                   the peer broke the rules; the connection is over   .rule
│   ├── MalformedPacket             bytes that no packet can be     .found .allowed .offset
│   ├── PacketTooLarge              longer than we agreed to read   .size .limit
│   └── UnexpectedPacket            a good packet at the wrong time
├── UsageError (ValueError)         we were asked for what the rules do not allow; nothing was sent
│   └── UnsupportedAttestation      a way to prove who one is that DPS has not over MQTT
├── ConnectFailed                   no connection came about        .hop
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
├── ConnectionLost                  closed under us; cause chained  .close_code .close_reason
│   └── KeepAliveExpired
├── RequestTimedOut (TimeoutError)  a peer did not answer in time
├── QueueFull                       a bound on what may wait was reached
├── StoreFailed                     the session store cannot be read or written
└── ProvisioningError
    ├── RegistrationRejected        an error status         .status .error_code .tracking_id
    ├── RegistrationFailed          ended failed or disabled        .state .error_code
    └── MalformedAnswer             the service's answer cannot be read

The class says whose fault it is; the attributes carry the facts; the sentence says what was found
and what was allowed. No message ever holds a key, a password or a token.
"""

from typing import ClassVar

from .hops import CertificateFacts, Hop


class MqttwsError(Exception):
    """The root of the tree: catching it catches everything that mqttws raises on purpose.

    Attributes:
        hint: what the user can do next, one sentence.
    """

    usual_hint: ClassVar[str] = ""
    """What ``hint`` says where nothing better is known."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.usual_hint


def _with_rule(error: MqttwsError, rule: str) -> str:
    message = str(error.args[0]) if error.args else ""
    return f"{message} [{rule}]" if rule else message


class ProtocolError(MqttwsError):
    """The peer broke a rule of MQTT or of its WebSocket carriage; the connection is over.

    Attributes:
        rule: the statement's id, such as ``MQTT-3.3.1-4``; empty where the rule has none.
    """

    usual_hint = (
        "the peer does not keep to MQTT 3.1.1, or something on the way rewrites bytes: see its log"
    )

    def __init__(self, message: str = "", *, rule: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule

    def __str__(self) -> str:
        return _with_rule(self, self.rule)


class MalformedPacket(ProtocolError):
    """Bytes that no MQTT 3.1.1 packet can be.

    Attributes:
        rule: the id of the statement that the bytes break.
        found: what stood there.
        allowed: what may stand there.
        offset: where, in bytes: from the packet's first byte for ``decode``, from the first byte
            ever fed for a ``Decoder``.
    """

    def __init__(self, rule: str = "", found: str = "", allowed: str = "", offset: int = 0) -> None:
        super().__init__(rule=rule)
        self.args = (rule, found, allowed, offset)
        self.found = found
        self.allowed = allowed
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.found}; allowed: {self.allowed} [{self.rule}, at byte {self.offset}]"


class PacketTooLarge(ProtocolError):
    """The peer announced a packet longer than we agreed to read; its body was not awaited.

    Attributes:
        size: the whole packet's size in bytes, as announced.
        limit: the largest size in bytes that was agreed to.
    """

    usual_hint = "allow larger packets with max_packet_size, or have smaller ones sent"

    def __init__(self, size: int = 0, limit: int = 0) -> None:
        super().__init__()
        self.args = (size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"a packet of {self.size} bytes was announced; at most {self.limit} are accepted"


class UnexpectedPacket(ProtocolError):
    """A well-formed packet at a time, or with a packet identifier, where it may not come."""


class UsageError(MqttwsError, ValueError):
    """We were asked for something that the rules do not allow; nothing was sent.

    Attributes:
        rule: the statement's id, where one forbids it; else empty.
    """

    usual_hint = "correct the argument; the documentation says what is allowed"

    def __init__(self, message: str = "", *, rule: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule

    def __str__(self) -> str:
        return _with_rule(self, self.rule)


class UnsupportedAttestation(UsageError):
    """A way of proving who a device is that DPS does not have over MQTT: TPM."""


class ConnectFailed(MqttwsError):
    """No connection came about.

    Attributes:
        hop: the leg of the way that failed.
    """

    def __init__(self, message: str = "", *, hop: Hop = Hop.TCP, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.hop = hop


class NameNotResolved(ConnectFailed):
    """The host's name has no address here."""


class Unreachable(ConnectFailed):
    """Nothing at the address took the connection: refused, dropped or no route."""


class HopTimedOut(ConnectFailed, TimeoutError):
    """The peer said nothing (or not enough) within the time that one hop is given."""


class ProxyRefused(ConnectFailed):
    """The proxy answered, but did not let us through.

    Attributes:
        status: the HTTP status, or the reply code of SOCKS; 0 where the answer was neither.
        challenge: the logins that the proxy asks for, as in its ``Proxy-Authenticate`` headers.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop = Hop.PROXY,
        hint: str = "",
        status: int = 0,
        challenge: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hop=hop, hint=hint)
        self.status = status
        self.challenge = challenge


class TlsFailed(ConnectFailed):
    """No TLS session came about."""


class CertificateRejected(TlsFailed):
    """The certificate of a server or proxy is not one that we may trust for this host.

    Attributes:
        reason: why, in the words of the TLS library.
        certificate: what stands in it; None where it could not be looked at.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop = Hop.TLS,
        hint: str = "",
        reason: str = "",
        certificate: CertificateFacts | None = None,
    ) -> None:
        super().__init__(message, hop=hop, hint=hint)
        self.reason = reason
        self.certificate = certificate

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.certificate})" if self.certificate else message


class UpgradeRefused(ConnectFailed):
    """HTTP was answered, but not by a switch to WebSocket.

    Attributes:
        status: the HTTP status of the answer; 0 where the answer was not HTTP.
        reason: the answer's reason phrase, or what was wrong with it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop = Hop.UPGRADE,
        hint: str = "",
        status: int = 0,
        reason: str = "",
    ) -> None:
        super().__init__(message, hop=hop, hint=hint)
        self.status = status
        self.reason = reason


class SubprotocolRefused(ConnectFailed):
    """A WebSocket was opened, but not for MQTT (WS-23, WS-24).

    Attributes:
        offered: the subprotocol that we asked for.
        answered: the one in the answer; None where it named none.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop = Hop.UPGRADE,
        hint: str = "",
        offered: str = "mqtt",
        answered: str | None = None,
    ) -> None:
        super().__init__(message, hop=hop, hint=hint)
        self.offered = offered
        self.answered = answered


class ConnectRefused(ConnectFailed):
    """CONNACK said no (MQTT 3.1.1 section 3.2.2.3).

    Attributes:
        return_code: 1 to 5, as in the standard.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop = Hop.CONNECT,
        hint: str = "",
        return_code: int = 0,
    ) -> None:
        super().__init__(message, hop=hop, hint=hint)
        self.return_code = return_code


class SubscribeRefused(MqttwsError):
    """SUBACK refused a topic filter (return code 0x80).

    Attributes:
        topic_filter: the first filter that was refused.
        hop: always ``Hop.SUBSCRIBE``.
    """

    usual_hint = "this client may not read it, or the server has no such topics"

    hop = Hop.SUBSCRIBE

    def __init__(self, message: str = "", *, topic_filter: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.topic_filter = topic_filter


class ConnectionLost(MqttwsError):
    """The connection ended under us; the cause, where there is one, is chained.

    Attributes:
        close_code: the WebSocket close code (RFC 6455 section 7.4); None without one.
        close_reason: the text that came with it.
    """

    usual_hint = "connect again; if it happens again, see the peer's log for why it closed"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        close_code: int | None = None,
        close_reason: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code
        self.close_reason = close_reason


class KeepAliveExpired(ConnectionLost):
    """The peer was silent for longer than the keep-alive allows (MQTT 3.1.1 section 3.1.2.10)."""


class RequestTimedOut(MqttwsError, TimeoutError):
    """A connected peer did not answer a request, or not all of them, in the time given."""

    usual_hint = "the peer is connected but silent: try again, then ask its operator"


class QueueFull(MqttwsError):
    """As much waits as may wait: unfinished publishes, or messages that nobody reads."""

    usual_hint = "wait until some of it is done, and publish or read at the other's pace"


class StoreFailed(MqttwsError):
    """The session store cannot be opened, read or written; the cause is chained."""

    usual_hint = "see whether the disk is full, and that no other client uses the file"


class ProvisioningError(MqttwsError):
    """DPS answered, but not with an assignment."""


class RegistrationRejected(ProvisioningError):
    """DPS answered with an error status.

    Attributes:
        status: the answer's status, as in HTTP: 400, 401, 404, 429, 500, …
        error_code: the service's six-digit code; None where it gave none.
        tracking_id: what Microsoft's support asks for; empty where the answer had none.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        status: int = 0,
        error_code: int | None = None,
        tracking_id: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.error_code = error_code
        self.tracking_id = tracking_id


class RegistrationFailed(ProvisioningError):
    """The operation ended (status 200), but not with an assignment.

    Attributes:
        state: ``failed`` or ``disabled``.
        error_code: the service's six-digit code; None where it gave none.
    """

    def __init__(
        self, message: str = "", *, hint: str = "", state: str = "", error_code: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.state = state
        self.error_code = error_code


class MalformedAnswer(ProvisioningError):
    """The service's answer does not have the documented shape, so nothing can be done with it."""

    usual_hint = (
        "the service is not DPS, or something on the way rewrites its answers: check the host"
    )
