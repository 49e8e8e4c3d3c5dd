"""Failures on the way to a server, and of a connection to it."""

from typing import ClassVar, Unpack

from ..hops import Cause, CertificateFacts, Hop
from .base import Fields, MqttwsError


class ConnectFailed(MqttwsError):
    """No connection was made; ``hop`` is the leg of the way that failed.

    Attributes:
        retry_after: seconds after which the one who refused wants to be asked again (HTTP 429 and
            503); None where it did not say.
    """

    usual_hop: ClassVar[Hop | None] = Hop.TCP

    hop: Hop
    retry_after: float | None = None


class NameNotResolved(ConnectFailed):
    """The host's name has no address here."""

    usual_hop: ClassVar[Hop | None] = Hop.NAME
    usual_cause = Cause.NAME_UNKNOWN


class Unreachable(ConnectFailed):
    """Nothing at the address accepted the connection: refused, dropped or no route."""

    usual_cause = Cause.REFUSED


class HopTimedOut(ConnectFailed, TimeoutError):
    """The peer sent nothing, or not enough, within the time limit of one hop."""

    usual_cause = Cause.SILENT


class ProxyRefused(ConnectFailed):
    """The proxy refused to open a tunnel to the host.

    Attributes:
        status: the HTTP status, or the reply code of SOCKS; 0 where the answer was neither.
        challenge: the logins that the proxy demands, as in its ``Proxy-Authenticate`` headers.
    """

    usual_hop: ClassVar[Hop | None] = Hop.PROXY
    usual_cause = Cause.PROXY_FORBIDS

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        challenge: tuple[str, ...] = (),
        **fields: Unpack[Fields],
    ) -> None:
        fields["cause"] = fields.get("cause") or _proxy_cause(status, challenge)
        super().__init__(message, **fields)
        self.status = status
        self.challenge = challenge


def _proxy_cause(status: int, challenge: tuple[str, ...]) -> Cause:
    if status in (401, 407, 0xFF) or challenge:
        return Cause.PROXY_LOGIN_REFUSED
    if status in (1, 3, 4, 5, 6) or status >= 500:  # RFC 1928 section 6; HTTP
        return Cause.PROXY_CANNOT_REACH
    return Cause.PROXY_FORBIDS if status else Cause.NOT_A_PROXY


class TlsFailed(ConnectFailed):
    """No TLS session was made."""

    usual_hop: ClassVar[Hop | None] = Hop.TLS
    usual_cause = Cause.TLS_ALERT


class CertificateRejected(TlsFailed):
    """The certificate of a server or proxy is not trusted for this host.

    Attributes:
        reason: why, in the words of the TLS library.
        certificate: what stands in it; None where it could not be looked at.
    """

    usual_cause = Cause.CERTIFICATE_REJECTED

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        certificate: CertificateFacts | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(message, **fields)
        self.reason = reason
        self.certificate = certificate

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.certificate})" if self.certificate else message


class UpgradeRefused(ConnectFailed):
    """The HTTP answer to the upgrade was not a switch to WebSocket (101).

    Attributes:
        status: the HTTP status of the answer; 0 where the answer was not HTTP.
        reason: the answer's reason phrase, or what was wrong with it.
    """

    usual_hop: ClassVar[Hop | None] = Hop.UPGRADE
    usual_cause = Cause.UPGRADE_REFUSED

    def __init__(
        self, message: str = "", *, status: int = 0, reason: str = "", **fields: Unpack[Fields]
    ) -> None:
        fields["cause"] = fields.get("cause") or _upgrade_cause(status)
        super().__init__(message, **fields)
        self.status = status
        self.reason = reason


def _upgrade_cause(status: int) -> Cause:
    if status == 0:
        return Cause.NOT_HTTP
    if status in (200, 426):  # as if no upgrade had been asked for
        return Cause.UPGRADE_SWALLOWED
    if status == 429:
        return Cause.THROTTLED
    return Cause.SERVER_UNAVAILABLE if status >= 500 else Cause.UPGRADE_REFUSED


class SubprotocolRefused(ConnectFailed):
    """A WebSocket was opened, but not for MQTT (WS-23, WS-24).

    Attributes:
        offered: the subprotocol that we asked for.
        answered: the one in the answer; None where it named none.
    """

    usual_hop: ClassVar[Hop | None] = Hop.UPGRADE
    usual_cause = Cause.SUBPROTOCOL_REFUSED

    def __init__(
        self,
        message: str = "",
        *,
        offered: str = "mqtt",
        answered: str | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(message, **fields)
        self.offered = offered
        self.answered = answered


_BY_RETURN_CODE = {
    1: Cause.VERSION_REFUSED,
    2: Cause.CLIENT_ID_REFUSED,
    3: Cause.SERVER_UNAVAILABLE,
    4: Cause.LOGIN_REFUSED,
    5: Cause.NOT_AUTHORIZED,
}


class ConnectRefused(ConnectFailed):
    """The server refused the connection in its CONNACK (MQTT 3.1.1 section 3.2.2.3).

    Attributes:
        return_code: 1 to 5, as in the standard; the usual cause follows from it.
    """

    usual_hop: ClassVar[Hop | None] = Hop.CONNECT

    def __init__(
        self, message: str = "", *, return_code: int = 0, **fields: Unpack[Fields]
    ) -> None:
        fields["cause"] = fields.get("cause") or _BY_RETURN_CODE.get(return_code)
        super().__init__(message, **fields)
        self.return_code = return_code


class SubscribeRefused(MqttwsError):
    """SUBACK refused a topic filter (return code 0x80).

    Attributes:
        topic_filter: the first filter that was refused.
    """

    usual_hop: ClassVar[Hop | None] = Hop.SUBSCRIBE
    usual_cause = Cause.FILTER_REFUSED
    usual_hint = "this client may not read it, or the server has no such topics"

    def __init__(
        self, message: str = "", *, topic_filter: str = "", **fields: Unpack[Fields]
    ) -> None:
        super().__init__(message, **fields)
        self.topic_filter = topic_filter


_MESSAGE_TOO_BIG = 1009


class ConnectionLost(MqttwsError):
    """The connection was lost; the exception behind it, where there is one, is chained.

    Attributes:
        close_code: the WebSocket close code (RFC 6455 section 7.4); None without one.
        close_reason: the text that came with it.
    """

    usual_cause = Cause.CLOSED
    usual_hint = "connect again; if it happens again, see the peer's log for why it closed"

    def __init__(
        self,
        message: str = "",
        *,
        close_code: int | None = None,
        close_reason: str = "",
        **fields: Unpack[Fields],
    ) -> None:
        if close_code == _MESSAGE_TOO_BIG:  # it will be no shorter the next time
            fields["cause"] = fields.get("cause") or Cause.MESSAGE_TOO_LARGE
        super().__init__(message, **fields)
        self.close_code = close_code
        self.close_reason = close_reason


class KeepAliveExpired(ConnectionLost):
    """The peer was silent for longer than the keep-alive allows (MQTT 3.1.1 section 3.1.2.10)."""

    usual_cause = Cause.KEEP_ALIVE_EXPIRED


class DeliveryUnknown(ConnectionLost):
    """A message of QoS 1 or 2 may have arrived, or may be lost; the error carries it.

    Publishing it again makes it "at least once".

    Attributes:
        topic: the topic name it was published to.
        payload: its bytes; in no text of the error.
        qos: 1 or 2.
        retain: whether the server was to keep it.
    """

    usual_cause = Cause.DELIVERY_UNKNOWN
    usual_hint = (
        "publish it again if it may arrive twice; clean_session=False makes QoS 2 exactly once"
    )

    def __init__(
        self,
        message: str = "",
        *,
        topic: str = "",
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        close_code: int | None = None,
        close_reason: str = "",
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(message, close_code=close_code, close_reason=close_reason, **fields)
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain


class DeliveryFailed(MqttwsError):
    """A message was given up: cancelled, or the server ends each connection on which it is sent.

    Attributes:
        topic: the topic name it was published to.
    """

    usual_cause = Cause.DELIVERY_REFUSED

    def __init__(self, message: str = "", *, topic: str = "", **fields: Unpack[Fields]) -> None:
        super().__init__(message, **fields)
        self.topic = topic


class RequestTimedOut(MqttwsError, TimeoutError):
    """A connected peer did not answer a request, or not all of them, in the time given."""

    usual_cause = Cause.SILENT
    usual_hint = "the peer is connected but silent: try again, then ask its operator"


class QueueFull(MqttwsError):
    """A bound on unfinished publishes or unread messages was reached."""

    usual_cause = Cause.QUEUE_FULL
    usual_hint = "wait for pending publishes to finish, or read messages faster"
