"""Access to a hub: a device's CONNECT, a service's token, shared access policies.

Sources: azure-docs ``iot-hub-dev-guide-sas.md`` and ``troubleshoot-error-codes.md``;
azure-iot-sdk-c ``doc/connection_and_messaging_reliability.md``: whatever is wrong with a device's
identity or credentials, the answer is CONNACK 5. Pure: the caller says what time it is.
"""

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from ...dps.certificates import Chain
from ...dps.sas import is_signed, read_token
from ...text import shown
from .identity import Identity
from .requests import Names

NOT_AUTHORIZED = 5
"""CONNACK's code for each refusal of an identity or of its credentials."""

SERVER_UNAVAILABLE = 3
"""CONNACK's code for a throttled CONNECT."""

RIGHTS: dict[str, frozenset[str]] = {
    "iothubowner": frozenset(("registry-read", "registry-write", "service", "device")),
    "service": frozenset(("service",)),
    "device": frozenset(("device",)),
    "registryRead": frozenset(("registry-read",)),
    "registryReadWrite": frozenset(("registry-read", "registry-write")),
}
"""The rights of a hub's policies, as a new hub has them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A shared access policy.

    Attributes:
        name: ``skn`` in its tokens.
        keys: decoded, each valid.
        rights: of ``registry-read``, ``registry-write``, ``service`` and ``device``.
    """

    name: str
    keys: tuple[bytes, ...] = field(repr=False)
    rights: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """A CONNECT that is refused.

    Attributes:
        reason: for the log, without secrets.
        return_code: of CONNACK.
    """

    reason: str
    return_code: int = NOT_AUTHORIZED


@dataclass(frozen=True, slots=True)
class Admitted:
    """A CONNECT that is accepted.

    Attributes:
        identity: the device or module.
        expires_at: Unix time in seconds at which its token ends; None with a certificate.
        method: ``iothub-connection-auth-method`` of its telemetry.
    """

    identity: Identity
    expires_at: float | None
    method: str


@dataclass(frozen=True, slots=True)
class Presented:
    """The names and credentials in a CONNECT.

    Attributes:
        client_id: as sent.
        names: of the user name.
        password: as sent.
        chain: of the client certificate; empty for none.
        cas: SHA-256, in hexadecimal, of each certificate of the CAs that the hub trusts.
    """

    client_id: str
    names: Names
    password: bytes | None = field(repr=False)
    chain: Chain = ()
    cas: Container[str] = frozenset()


def admit(
    shown_by: Presented,
    identity: Identity | None,
    parent: Identity | None,
    policies: Sequence[Policy],
    now: float,
) -> Admitted | Refused:
    """Judge a CONNECT.

    Args:
        shown_by: names and credentials.
        identity: of the registry under these names; None for none.
        parent: the device of a module; None for a device.
        policies: of the hub; those with DeviceConnect open each device.
        now: Unix time in seconds.
    """
    names = shown_by.names
    if shown_by.client_id != names.client_id:  # case counts, unlike at DPS
        return Refused(f"ClientId {shown(shown_by.client_id)} is not {shown(names.client_id)}")
    if identity is None or (names.module_id and parent is None):
        return Refused(f"there is no identity {shown(names.client_id)}")
    for of in (identity, parent):
        if of is not None and not of.enabled:
            return Refused(f"{shown(of.name)} is disabled")
    kind = identity.credentials.kind
    if shown_by.password:
        return _by_token(shown_by, identity, policies, now)
    if kind == "sas":
        return Refused("no SAS token; its identity has keys")
    if not shown_by.chain:
        return Refused("neither SAS token nor client certificate")
    fault = shown_by.chain[0].fault or _chain_fault(shown_by, identity, now)
    if fault:
        return Refused(fault)
    return Admitted(identity, None, _method(identity, "x509"))


def _by_token(
    shown_by: Presented, identity: Identity, policies: Sequence[Policy], now: float
) -> Admitted | Refused:
    text = (shown_by.password or b"").decode(errors="replace")
    token = read_token(text)
    if isinstance(token, str):
        return Refused(token)
    resource = f"{shown_by.names.hub}/{identity.path}"
    if not covers(token.resource_text, resource):
        found = shown(unquote(token.resource_text))
        return Refused(f"the token is for {found}; wanted: {shown(resource)}")
    if token.key_name:
        policy = next((of for of in policies if of.name == token.key_name), None)
        if policy is None or "device" not in policy.rights:
            return Refused(f"the token's skn {shown(token.key_name)} is no policy for devices")
        keys, scope = policy.keys, "hub"
    elif identity.credentials.kind != "sas":
        return Refused(f"a SAS token; its identity has {identity.credentials.kind} credentials")
    else:
        keys, scope = identity.credentials.keys, "module" if identity.module_id else "device"
    if not is_signed(token, keys):
        return Refused("the token's signature fits none of the keys")
    if token.expiry <= now:
        return Refused(f"the token expired {now - token.expiry:.0f} s ago")
    return Admitted(identity, float(token.expiry), _method(identity, "sas", scope))


def _method(identity: Identity, kind: str, scope: str = "") -> str:
    scope = scope or ("module" if identity.module_id else "device")
    return f'{{"scope":"{scope}","type":"{kind}","issuer":"iothub","acceptingIpFilterRule":null}}'


def covers(resource_text: str, wanted: str) -> bool:
    """Return whether a token's ``sr`` opens a resource: equal, or a prefix by whole segments.

    The host's case does not count, that of ids does. A trailing ``/api-version=...`` is dropped:
    tools make such tokens (azure-docs ``iot-mqtt-connect-to-iot-hub.md``).

    Args:
        resource_text: ``sr`` as it stands in the token, percent-encoded.
        wanted: ``{host}/devices/{id}``, not encoded.
    """
    given = unquote(resource_text).split("/")
    if len(given) > 1 and given[-1].removeprefix("?").startswith("api-version="):
        given = given[:-1]
    if given[-1:] == [""]:
        given = given[:-1]
    parts = wanted.split("/")
    if not given or len(given) > len(parts):
        return False
    return given[0].lower() == parts[0].lower() and given[1:] == parts[1 : len(given)]


def _chain_fault(shown_by: Presented, identity: Identity, now: float) -> str | None:
    """Return the reason why a certificate does not let a device in; None if it does."""
    chain = shown_by.chain
    leaf = chain[0]
    for certificate in chain:
        if now < certificate.not_before:
            return f"not valid yet: certificate {shown(certificate.subject)}"
        if now > certificate.not_after:
            return f"expired: certificate {shown(certificate.subject)}"
        if identity.credentials.kind == "selfSigned":
            break  # only the device's own certificate counts
    if identity.credentials.kind == "selfSigned":
        if {leaf.sha1, leaf.sha256} & set(identity.credentials.thumbprints):
            return None
        return "the certificate's thumbprint is none of the identity's"
    if identity.credentials.kind != "certificateAuthority":
        return "its identity has no credentials"
    credentials = identity.credentials
    if credentials.certificates:  # issued by DPS or this hub: the CA is known
        anchors = {hashlib.sha256(der).hexdigest() for der in credentials.certificates}
        if not any(certificate.sha256 in anchors for certificate in chain[1:]):
            return "the certificate is not one that was issued to its identity"
        if leaf.common_name.lower() == (credentials.common_name or identity.device_id).lower():
            return None
        return f"the certificate's common name is {shown(leaf.common_name)}"
    if leaf.common_name != identity.device_id:
        return f"the certificate's common name is {shown(leaf.common_name)}"
    if not any(certificate.sha256 in shown_by.cas for certificate in chain[1:]):
        return "the certificate is signed by none of the hub's CAs"
    return None


def service_fault(
    authorization: str,
    resources: Sequence[str],
    right: str,
    policies: Sequence[Policy],
    now: float,
) -> str | None:
    """Return the reason why a service's token does not grant a request; None if it does.

    Args:
        authorization: the header's value.
        resources: the hosts, with and without a port, that the token may be for.
        right: that the request needs, of those of the policies.
        policies: of the service.
        now: Unix time in seconds.
    """
    token = read_token(authorization)
    if isinstance(token, str):
        return token
    if not any(covers(token.resource_text, resource) for resource in resources):
        return f"the token is for {shown(unquote(token.resource_text))}"
    policy = next((of for of in policies if of.name == token.key_name), None)
    if policy is None:
        return f"the token's skn {shown(token.key_name)} is no policy of the service"
    if not is_signed(token, policy.keys):
        return "the token's signature fits none of the policy's keys"
    if token.expiry <= now:
        return f"the token expired {now - token.expiry:.0f} s ago"
    return None if right in policy.rights else f"policy {shown(policy.name)} has no right {right}"
