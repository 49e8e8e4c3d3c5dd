"""Unknown issuers: an interceptor, a private CA, a missing intermediate, or no trust at all."""

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..hops import Cause, Hop, Party
from .certificate import load_certificate, plain_name
from .names import is_public_service
from .tls import default_roots, public_organisations

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DEVELOPMENT_CA = "mqttws development CA"
"""The name of the CA that a local DPS makes."""

INSPECTORS = (
    "zscaler",
    "mitmproxy",
    "fortinet",
    "fortigate",
    "fortiproxy",
    "blue coat",
    "bluecoat",
    "symantec web",
    "forcepoint",
    "websense",
    "palo alto",
    "netskope",
    "sophos",
    "barracuda",
    "mcafee",
    "skyhigh",
    "trellix",
    "cisco umbrella",
    "ironport",
    "sonicwall",
    "watchguard",
    "check point",
    "checkpoint",
    "untangle",
    "kaspersky",
    "eset",
    "avast",
    "squid",
    "charles proxy",
    "fiddler",
    "burp",
    "interception",
    "ssl inspection",
    "tls inspection",
    "web gateway",
    "webfilter",
)
"""Words in an issuer's name or a Server header by which products that inspect TLS are known."""


def names_inspector(text: str) -> bool:
    """Whether a name or a header belongs to a product that inspects TLS, or says so."""
    lower = text.lower()
    return any(word in lower for word in INSPECTORS)


def judge_issuer(
    chain: Sequence["Certificate"],
    sent: Sequence["Certificate"],
    host: str,
    hop: Hop,
    context: ssl.SSLContext,
) -> tuple[Cause, Party, str]:
    """Return cause, party and hint for a chain that leads to nothing trusted.

    Args:
        chain: as far as it could be built, the peer's own certificate first.
        sent: what the peer sent.
        host: the name that was asked for.
        hop: ``TLS`` or ``PROXY_TLS``.
        context: whose trusted set counted.
    """
    last = chain[-1]
    issuer = plain_name(last.issuer.rfc4514_string())
    if missing := _no_trust(context):
        return Cause.NO_TRUSTED_CA, Party.HOST, missing
    if hop is Hop.PROXY_TLS:
        return (
            Cause.ISSUER_UNKNOWN,
            Party.PROXY,
            f"the proxy's certificate comes from {issuer}, which is not trusted here: get the CA"
            " certificate from the proxy's team and give it (--ca FILE)",
        )
    if DEVELOPMENT_CA in issuer:
        return (
            Cause.ISSUER_UNKNOWN,
            Party.CALLER,
            f"{issuer} signs what a local DPS or hub of mqttws shows: give its CA (--ca DIR/ca.pem;"
            " DIR is the --state of its serve). If none was meant, the name leads to the wrong"
            " machine",
        )
    if is_public_service(host) or names_inspector(issuer):
        return (
            Cause.INTERCEPTED,
            Party.NETWORK,
            f"TLS is re-signed on the way: {issuer} is not a public issuer: probably an"
            f" intercepting proxy or firewall. Ask the network team to exempt {host} from TLS"
            " inspection, or get its CA certificate and give it (--ca FILE)",
        )
    if len(chain) == 1 and last.subject == last.issuer:
        return (
            Cause.CERTIFICATE_SELF_SIGNED,
            Party.SERVER,
            "it is its own issuer: the default of an appliance or a new server. Its operator must"
            " install a certificate from a CA; or, if you know it, trust it (--ca FILE)",
        )
    given = own_anchors(context)
    if _is_public(issuer):
        return (
            Cause.INTERMEDIATE_MISSING,
            Party.SERVER,
            f"its issuer, {issuer}, has the name of a public one, but no path leads there: the"
            " server does not send its intermediate certificates (its operator must add them), or"
            " this machine's list of CAs is old",
        )
    if _related(last, given):
        return (
            Cause.INTERMEDIATE_MISSING,
            Party.SERVER,
            f"the server does not send the certificate of {issuer}, an intermediate CA: its"
            " operator must install the whole chain; until then, give that certificate too (--ca)",
        )
    return _private(issuer, given, alone=len(sent) == 1)


def _private(
    issuer: str, given: Sequence["Certificate"], *, alone: bool
) -> tuple[Cause, Party, str]:
    """Judge an issuer that nothing is known of."""
    wrong = ""
    if given:
        names = "; ".join(plain_name(ca.subject.rfc4514_string()) for ca in given[:3])
        wrong = f" The CA that was given (--ca: {names}) is not the one that signed it."
    unsent = " If it is an intermediate CA, the server must send its certificate." if alone else ""
    return (
        Cause.INTERCEPTED,
        Party.NETWORK,
        f"{issuer} is not a public issuer: probably an intercepting proxy on this network, or the"
        f" server's private CA.{wrong}{unsent} If you trust it, add its CA (--ca FILE). The same"
        " server seen from another network tells which: there an interceptor's name is gone",
    )


def _related(last: "Certificate", given: Sequence["Certificate"]) -> bool:
    """Whether an issuer belongs to the same organisation as one of the CAs that were given."""
    from cryptography.x509.oid import NameOID

    wanted = {part.value for part in last.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    known = {
        part.value
        for ca in given
        for part in ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    }
    return bool(wanted & known)


def _is_public(issuer: str) -> bool:
    return any(f"O={name}" in issuer for name in public_organisations())


def own_anchors(context: ssl.SSLContext) -> list["Certificate"]:
    """Return the trusted certificates that are not the system's: what ``--ca`` added."""
    system = default_roots()
    own = []
    for der in context.get_ca_certs(binary_form=True):
        if der not in system:
            try:
                own.append(load_certificate(der))
            except ValueError:  # OpenSSL takes some that cannot be read here
                continue
    return own


def _no_trust(context: ssl.SSLContext) -> str:
    """Return a hint where nothing is trusted here; empty where something is."""
    stats = context.cert_store_stats()
    if stats["x509"]:
        return ""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if path:
            return f"{name} is set to {path[:200]!r}, {_fault_of(Path(path))}: no CA is trusted"
    if default_roots():
        return "nothing is trusted: the CA list of this program is empty"
    return "this machine trusts no CA at all: install the package ca-certificates"


def _fault_of(path: Path) -> str:
    try:
        if path.is_dir():
            return "a folder without CA certificates"
        if not path.exists():
            return "which does not exist"
        return (
            "which holds no certificate in PEM form"
            if b"-----BEGIN" not in path.read_bytes()[:1_000_000]
            else "in which no CA certificate is"
        )
    except (OSError, ValueError):
        return "which cannot be read"
