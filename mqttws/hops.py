"""The vocabulary of failures: hops, causes, responsible parties.

Every ``MqttwsError`` carries one ``Cause``; party and retryability follow from it, unless the place
that raises the error knows better. Programs decide by these values, never by an error's sentence.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Party(Enum):
    """The party that is probably responsible for a failure."""

    CALLER = "the caller"
    """The program that called mqttws: an argument, or a call at the wrong moment."""
    HOST = "this host"
    """Its settings, its clock, its disk, and the names and keys that it was given."""
    PROXY = "the proxy"
    """The proxy that was chosen."""
    NETWORK = "the network"
    """A firewall, or another device on the way that is not part of the plan."""
    SERVER = "the server"
    """The server at the end of the way, and its configuration."""


class Hop(Enum):
    """One leg of the way to an assignment, in the order in which the legs are walked."""

    PROXY_NAME = "proxy-name"
    """The proxy's name becomes addresses."""
    PROXY_TCP = "proxy-tcp"
    """One of the proxy's addresses accepts a connection."""
    PROXY_TLS = "proxy-tls"
    """The proxy proves its identity, and the bytes to it are encrypted."""
    NAME = "name"
    """The host's name becomes addresses; left out where a proxy does that."""
    TCP = "tcp"
    """One of the addresses accepts a connection; a proxy does that in its own leg."""
    PROXY = "proxy"
    """The proxy lets us through to the host (CONNECT, RFC 9110 section 9.3.6; or SOCKS)."""
    TLS = "tls"
    """The server proves its identity, and the bytes are encrypted."""
    UPGRADE = "upgrade"
    """HTTP turns into a WebSocket with subprotocol ``mqtt`` (RFC 6455 section 4)."""
    CONNECT = "connect"
    """CONNECT is answered by CONNACK (MQTT 3.1.1 section 3.1)."""
    SUBSCRIBE = "subscribe"
    """SUBSCRIBE is answered by SUBACK (MQTT 3.1.1 section 3.8)."""
    REGISTER = "register"
    """DPS answers the registration request."""
    POLL = "poll"
    """DPS answers a question about the operation's status."""

    @property
    def exit_code(self) -> int:
        """Exit code of a command that failed on this leg; fixed, 10 to 29."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Hop.PROXY_NAME: 10,
    Hop.PROXY_TCP: 11,
    Hop.PROXY_TLS: 12,
    Hop.NAME: 13,
    Hop.TCP: 14,
    Hop.PROXY: 15,
    Hop.TLS: 16,
    Hop.UPGRADE: 17,
    Hop.CONNECT: 18,
    Hop.SUBSCRIBE: 19,
    Hop.REGISTER: 20,
    Hop.POLL: 21,
}


class Cause(Enum):
    """The reason of a failure, as far as it was found out.

    To add one: put it into the group where it belongs, with its value (lower case, dashes), the
    party that is usually responsible (None: it depends) and whether it is ``retryable``. Raise with
    ``cause=Cause.X``; give ``party=`` or ``retryable=`` there only where this case differs.

    A cause is retryable where the same call may succeed later without anybody having changed
    anything: a server that is down, a clock that is not set yet. It is not where a person must act
    first: a wrong key, a full disk, an expired certificate. In doubt it is retryable.

    Attributes:
        value: the cause's name in JSON output.
        party: the party usually responsible; None where that depends on the hop.
        retryable: whether the same call can succeed later, unchanged.
    """

    party: Party | None
    retryable: bool

    def __new__(cls, value: str, party: Party | None, retryable: bool) -> "Cause":
        """Make a member of its value, its party and its retryability."""
        cause = object.__new__(cls)
        cause._value_ = value
        cause.party = party
        cause.retryable = retryable
        return cause

    UNKNOWN = "unknown", None, True
    """Nothing is known beyond the exception's class."""

    # The caller
    ARGUMENT = "argument", Party.CALLER, False
    """An argument has a wrong type or value."""
    WRONG_MOMENT = "wrong-moment", Party.CALLER, False
    """A call at a moment when it is not allowed, such as before ``connect`` or after the end."""
    FORKED = "forked", Party.CALLER, False
    """An object used in a forked child, whose parent's threads and connections it does not have."""
    UNSUPPORTED = "unsupported", Party.CALLER, False
    """Something that the protocol or the service does not have."""
    DISCONNECTED = "disconnected", Party.CALLER, False
    """The program itself ended the connection or service while a call waited."""
    CALLBACK_FAILED = "callback-failed", Party.CALLER, True
    """A function that the caller gave raised an exception, or did not return in time."""
    QUEUE_FULL = "queue-full", None, True
    """A limit on waiting publishes or unread messages was reached."""

    # This host
    DISK_FULL = "disk-full", Party.HOST, False
    """No space, or no quota, is left for a file."""
    FILE_LOCKED = "file-locked", Party.HOST, True
    """Another process has locked a file."""
    FILE_DAMAGED = "file-damaged", Party.HOST, False
    """A file's content is not what was once written there, or of another kind."""
    FILE_UNREADABLE = "file-unreadable", Party.HOST, False
    """A file does not exist or may not be read."""
    FILE_UNWRITABLE = "file-unwritable", Party.HOST, False
    """A file or folder may not be written, or lies on a read-only file system."""
    KEY_MISMATCH = "key-mismatch", Party.HOST, False
    """A private key is not that of the certificate it stands beside."""
    OWN_CERTIFICATE_EXPIRED = "own-certificate-expired", Party.HOST, False
    """This device's own certificate has expired by this host's clock."""
    OWN_CERTIFICATE_NOT_YET_VALID = "own-certificate-not-yet-valid", Party.HOST, True
    """This device's own certificate begins in the future: usually the clock is not set yet."""
    STORE_AWAY = "store-away", Party.HOST, True
    """The database of the records cannot be reached, or does not answer."""
    PORT_TAKEN = "port-taken", Party.HOST, True
    """Another program listens on the port."""
    PORT_FORBIDDEN = "port-forbidden", Party.HOST, False
    """This user may not listen on the port (below 1024 on most systems)."""
    ADDRESS_NOT_HERE = "address-not-here", Party.HOST, False
    """The address to listen on is not one of this host."""
    NOT_INSTALLED = "not-installed", Party.HOST, False
    """An optional library is missing."""
    THREAD_ENDED = "thread-ended", Party.HOST, False
    """The background thread has ended, as at the interpreter's exit."""

    # Names and TCP
    NAME_UNKNOWN = "name-unknown", Party.HOST, True
    """The name has no address; also before the network is up."""
    NAME_SERVER_FAILED = "name-server-failed", Party.NETWORK, True
    """The name server answers with a failure, or not at all."""
    NAME_BLOCKED = "name-blocked", Party.NETWORK, False
    """The name server answers with an address that means "blocked", such as 0.0.0.0."""
    NO_ROUTE = "no-route", Party.HOST, True
    """The operating system knows no route to the address."""
    NO_IPV6 = "no-ipv6", Party.HOST, True
    """The name has IPv6 addresses only, and this host has no IPv6."""
    REJECTED = "rejected", Party.NETWORK, True
    """A router or firewall on the way rejects the connection (ICMP)."""
    REFUSED = "refused", Party.SERVER, True
    """The port is closed: nothing listens there, or a firewall rejects connections."""
    SILENT = "silent", None, True
    """Nothing, or not enough, came within the time limit."""
    CUT_OFF = "cut-off", None, True
    """The connection ended in the middle of a handshake."""
    BLACK_HOLE = "black-hole", Party.NETWORK, True
    """Large packets vanish on the way: the path MTU is smaller than the network says."""
    OUT_OF_TIME = "out-of-time", None, True
    """The time for the whole call is over."""

    # The proxy
    PROXY_LOGIN_MISSING = "proxy-login-missing", Party.HOST, False
    """The proxy demands a login and none was given."""
    PROXY_LOGIN_REFUSED = "proxy-login-refused", Party.HOST, False
    """The proxy does not accept the login."""
    PROXY_LOGIN_SCHEME = "proxy-login-scheme", Party.PROXY, False
    """The proxy demands a login of a kind that was not given, such as NTLM or Kerberos."""
    PROXY_FORBIDS = "proxy-forbids", Party.PROXY, False
    """The proxy's rules forbid this host or port."""
    PROXY_CANNOT_REACH = "proxy-cannot-reach", Party.SERVER, True
    """The proxy itself cannot reach the server."""
    NOT_A_PROXY = "not-a-proxy", Party.PROXY, False
    """The answer is not one of a proxy of this kind."""

    # TLS
    NOT_TLS = "not-tls", Party.SERVER, True
    """The answer is not TLS: another port, or a captive portal."""
    TLS_VERSION = "tls-version", Party.SERVER, False
    """The peer has no TLS version that is safe."""
    TLS_ALERT = "tls-alert", Party.SERVER, True
    """The peer ended the handshake with an alert."""
    NO_COMMON_CIPHER = "no-common-cipher", Party.SERVER, False
    """Client and server have no cipher suite in common."""
    WEAK_KEY_EXCHANGE = "weak-key-exchange", Party.SERVER, False
    """This client refused the server's key exchange as too weak."""
    TLS_1_3_INTOLERANT = "tls-1.3-intolerant", Party.NETWORK, False
    """A device on the way lets a TLS 1.2 hello pass and not one of TLS 1.3."""
    CERTIFICATE_REJECTED = "certificate-rejected", Party.SERVER, False
    """The certificate does not verify, for a reason that is not among the following."""
    CERTIFICATE_EXPIRED = "certificate-expired", Party.SERVER, False
    """The certificate has expired by this host's clock."""
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid", Party.HOST, True
    """The certificate begins in the future: usually this host's clock is not set yet."""
    CERTIFICATE_OTHER_NAME = "certificate-other-name", Party.SERVER, False
    """The certificate is for another host name."""
    CERTIFICATE_SELF_SIGNED = "certificate-self-signed", Party.SERVER, False
    """The server's certificate is its own issuer: often the default of an appliance."""
    CERTIFICATE_WEAK = "certificate-weak", Party.SERVER, False
    """A key or signature in the chain is too weak to be accepted."""
    CERTIFICATE_PURPOSE = "certificate-purpose", Party.SERVER, False
    """A certificate in the chain is not for this use: no server certificate, or no CA."""
    CERTIFICATE_CONSTRAINT = "certificate-constraint", Party.SERVER, False
    """A CA in the chain may not sign for this name or at this depth."""
    CERTIFICATE_REVOKED = "certificate-revoked", Party.SERVER, False
    """A certificate in the chain was revoked."""
    CERTIFICATE_BROKEN = "certificate-broken", Party.SERVER, False
    """A certificate in the chain is malformed, or its signature does not verify."""
    REVOCATION_UNKNOWN = "revocation-unknown", Party.CALLER, True
    """Revocation lists are demanded here, and none that fits was found."""
    INTERMEDIATE_MISSING = "intermediate-missing", Party.SERVER, False
    """The server does not send the certificate of the CA that issued its own."""
    ISSUER_UNKNOWN = "issuer-unknown", Party.SERVER, False
    """No chain leads from the certificate to a CA that is trusted here."""
    INTERCEPTED = "intercepted", Party.NETWORK, False
    """The issuer is no public CA: probably an intercepting proxy, or a private CA."""
    NO_TRUSTED_CA = "no-trusted-ca", Party.HOST, False
    """This host trusts no CA at all."""
    CLIENT_CERTIFICATE_MISSING = "client-certificate-missing", Party.HOST, False
    """The server demands a client certificate and got none."""
    CLIENT_CERTIFICATE_REFUSED = "client-certificate-refused", Party.HOST, False
    """The server refused this client's certificate, or probably did."""

    # WebSocket
    NOT_HTTP = "not-http", Party.NETWORK, True
    """The answer to the upgrade request is not HTTP."""
    UPGRADE_SWALLOWED = "upgrade-swallowed", Party.NETWORK, False
    """HTTP was answered as if no upgrade had been asked for (200, 426)."""
    CAPTIVE_PORTAL = "captive-portal", Party.NETWORK, True
    """A login page of the network answers in the server's place."""
    BLOCKED_BY_POLICY = "blocked-by-policy", Party.NETWORK, False
    """A filter on the way answers that its rules forbid the request."""
    UPGRADE_REFUSED = "upgrade-refused", Party.SERVER, False
    """HTTP answered the upgrade with an error status."""
    SUBPROTOCOL_REFUSED = "subprotocol-refused", Party.SERVER, False
    """A WebSocket was opened, but not for MQTT."""

    # MQTT
    VERSION_REFUSED = "version-refused", Party.SERVER, False
    """The server does not speak MQTT 3.1.1 (CONNACK 1)."""
    CLIENT_ID_REFUSED = "client-id-refused", Party.HOST, False
    """The server does not accept the ClientId (CONNACK 2)."""
    SERVER_UNAVAILABLE = "server-unavailable", Party.SERVER, True
    """The server is up but does not serve now (CONNACK 3, HTTP 5xx, DPS 5xx)."""
    LOGIN_REFUSED = "login-refused", Party.HOST, False
    """User name or password are wrong or missing (CONNACK 4); see ``not-authorized``."""
    NOT_AUTHORIZED = "not-authorized", Party.HOST, False
    """This client may not connect (CONNACK 5). mosquitto answers a wrong password with it too."""
    FILTER_REFUSED = "filter-refused", Party.SERVER, False
    """The server refused a subscription (SUBACK 0x80)."""
    PROTOCOL_BROKEN = "protocol-broken", Party.SERVER, True
    """The peer broke a rule of MQTT or WebSocket, or a middlebox altered the bytes."""
    PACKET_TOO_LARGE = "packet-too-large", Party.SERVER, False
    """The peer announced a packet above ``max_packet_size``."""
    MESSAGE_TOO_LARGE = "message-too-large", Party.CALLER, False
    """The peer closed because a message of ours is too large for it (WebSocket 1009)."""
    CLOSED = "closed", Party.SERVER, True
    """The peer, or the network, closed the connection."""
    RESET = "reset", None, True
    """The connection was reset: the peer, or a device on the way, threw it away."""
    DELIVERY_UNKNOWN = "delivery-unknown", None, True
    """A published message may have arrived, or may be lost."""
    DELIVERY_REFUSED = "delivery-refused", Party.SERVER, False
    """The server ends each connection on which a message is sent."""
    CANCELLED = "cancelled", Party.CALLER, False
    """The program gave a message up."""
    KEEP_ALIVE_EXPIRED = "keep-alive-expired", Party.NETWORK, True
    """The peer was silent for longer than the keep-alive allows."""

    # DPS and IoT Hub
    WRONG_KEY = "wrong-key", Party.HOST, False
    """The service does not accept the device's key or token (401000), or this clock is wrong."""
    SCOPE_UNKNOWN = "scope-unknown", Party.HOST, False
    """The id scope is not one of the service."""
    NOT_ENROLLED = "not-enrolled", Party.HOST, False
    """No enrollment covers the registration id (404201)."""
    DEVICE_DISABLED = "device-disabled", Party.HOST, False
    """The enrollment or the device is disabled or blocked."""
    REQUEST_REFUSED = "request-refused", Party.HOST, False
    """The service refused the request (another status of 300 to 499)."""
    NO_HUB = "no-hub", Party.SERVER, False
    """No IoT hub is linked or allowed for the enrollment (400208, 401001)."""
    ALLOCATION_FAILED = "allocation-failed", Party.SERVER, True
    """The enrollment's webhook failed (400207)."""
    OPERATION_UNKNOWN = "operation-unknown", Party.SERVER, True
    """The service does not know the operation any more (404203, 404202)."""
    ASSIGNMENT_FAILED = "assignment-failed", Party.SERVER, False
    """The registration ended without an assignment."""
    CERTIFICATE_NOT_ISSUED = "certificate-not-issued", Party.SERVER, False
    """A certificate was asked for, and the service refused it (400040) or sent none."""
    ISSUED_CERTIFICATE_UNUSABLE = "issued-certificate-unusable", Party.SERVER, False
    """The service sent a certificate that this device cannot use: another key, name or time."""
    THROTTLED = "throttled", Party.SERVER, True
    """Too many requests (429)."""
    ANSWER_MALFORMED = "answer-malformed", Party.SERVER, False
    """The answer does not have its documented shape."""


_TO_PROXY = frozenset({Hop.PROXY_NAME, Hop.PROXY_TCP, Hop.PROXY_TLS})

_DEPENDING_ON_HOP: dict[Cause, dict[Hop | None, Party]] = {
    Cause.SILENT: {
        None: Party.SERVER,
        Hop.PROXY_NAME: Party.HOST,
        Hop.NAME: Party.HOST,
        Hop.PROXY: Party.PROXY,
        Hop.CONNECT: Party.SERVER,
        Hop.SUBSCRIBE: Party.SERVER,
        Hop.REGISTER: Party.SERVER,
        Hop.POLL: Party.SERVER,
    },
    Cause.CUT_OFF: {
        Hop.PROXY: Party.PROXY,
        Hop.CONNECT: Party.SERVER,
    },
}
"""The party behind a silence or a cut; hops that are not named: the network."""


def usual_party(cause: Cause, hop: Hop | None) -> Party | None:
    """Return the party that is usually responsible for a cause on a hop; None if unknown."""
    by_hop = _DEPENDING_ON_HOP.get(cause)
    if by_hop is not None:
        return by_hop.get(hop, Party.NETWORK)
    if cause.party is Party.SERVER and hop in _TO_PROXY:
        return Party.PROXY
    return cause.party


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The content of a certificate, unverified.

    Attributes:
        subject: the name of its holder, such as ``CN=example.com``.
        issuer: the name of its signer.
        names: the host names and addresses it is for.
        not_before: the moment from which it is valid.
        not_after: the moment until which it is valid.
        sha256: the fingerprint, hexadecimal.
        self_signed: whether it names itself as its issuer.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    sha256: str
    self_signed: bool

    def __str__(self) -> str:
        names = f"for {', '.join(self.names[:5])}; " if self.names else ""
        return (
            f"{names}subject {self.subject}; issuer {self.issuer};"
            f" valid {self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d}"
        )
