"""Certificates with one fault each: the fault, the certificate and the party must be told apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqttws import TlsConfig
from mqttws.hops import Cause, Hop, Party
from mqttws.net import tls as tls_module

from .pki import Issued, Pki, issue, name, strong_rsa, weak_rsa, with_sha1
from .row import Device, Network, Row
from .world import HOST, PUBLIC, World

Trust = Callable[[World], TlsConfig]


def showing(
    make: Callable[[Pki], Issued],
    *,
    trust: Trust | None = None,
    host: str = HOST,
    weak: bool = False,
    **environ: str,
) -> Network:
    """A server that shows the chain that ``make`` returns."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        leaf = await asyncio.to_thread(make, world.pki)
        async with world.fronted(world.pki.server(leaf, weak=weak)):
            tls = world.field_trust if trust is None else trust(world)
            yield Device(host, tls=tls, environ=dict(environ))

    return network


def alone(pki: Pki) -> Issued:
    """The leaf without the intermediate above it."""
    return pki.leaf(above=[])


def trusting(make: Callable[[Pki], bytes]) -> Trust:
    return lambda world: TlsConfig(ca=make(world.pki))


def nothing(world: World) -> TlsConfig:
    return TlsConfig()


def foreign(world: World) -> TlsConfig:
    """Trust in a CA that has nothing to do with the server."""
    return TlsConfig(ca=issue(name("Other Root", "Elsewhere Inc"), ca=True).pem)


def under(**options: object) -> Callable[[Pki], Issued]:
    """A leaf under an intermediate that was made with these options."""

    def make(pki: Pki) -> Issued:
        given = {key: value() if key == "key" else value for key, value in options.items()}
        issuing = issue(name("Odd Issuing"), pki.root, **{"ca": True, **given})  # type: ignore[arg-type]
        return pki.leaf(issuing)

    return make


def leaf(**options: object) -> Callable[[Pki], Issued]:
    def make(pki: Pki) -> Issued:
        given = {key: value() if key == "key" else value for key, value in options.items()}
        return pki.leaf(**given)

    return make


def self_signed(pki: Pki) -> Issued:
    return issue(name("appliance"), hosts=[HOST])


def by_interceptor(organization: str) -> Callable[[Pki], Issued]:
    """A leaf that a product that inspects TLS has made on the way; its root is sent along."""

    def make(pki: Pki) -> Issued:
        root = issue(name(f"{organization} Root", organization), ca=True)
        return issue(name("dps.test", organization), root, hosts=[HOST, PUBLIC], above=[root])

    return make


def by_interceptor_alone(pki: Pki) -> Issued:
    root = issue(name("Gateway CA", "Corp Gateway"), ca=True)
    return issue(name("dps.test", "Corp Gateway"), root, hosts=[HOST, PUBLIC])


def expired_root(pki: Pki) -> Issued:
    root = issue(name("Old Root"), ca=True, begins=-900, ends=-20)
    pki.file(root.pem, ".old")
    pki.old_root = root  # type: ignore[attr-defined]
    return issue(name("dps.test"), root, hosts=[HOST])


def trust_old_root(world: World) -> TlsConfig:
    return TlsConfig(ca=world.pki.old_root.pem)  # type: ignore[attr-defined]


def no_ca_signs(pki: Pki) -> Issued:
    middle = pki.leaf(subject=name("no CA"))
    return issue(name("dps.test"), middle, hosts=[HOST], above=[middle, pki.issuing])


def badly_signed(pki: Pki) -> Issued:
    other = issue(name("x"), ca=True)
    return pki.leaf(signed_by=other.key)


def too_deep(pki: Pki) -> Issued:
    first = issue(name("First"), pki.root, ca=True, path_length=0)
    second = issue(name("Second"), first, ca=True)
    return issue(name("dps.test"), second, hosts=[HOST], above=[second, first])


def constrained(permitted: str = "", excluded: str = "") -> Callable[[Pki], Issued]:
    constraints = x509.NameConstraints(
        [x509.DNSName(permitted)] if permitted else None,
        [x509.DNSName(excluded)] if excluded else None,
    )
    return under(extra=[(constraints, True)])


def disordered(pki: Pki) -> Issued:
    second = issue(name("Second"), pki.issuing, ca=True)
    return issue(name("dps.test"), second, hosts=[HOST], above=[pki.issuing, second])


def by_public_name(pki: Pki) -> Issued:
    """A leaf whose issuer has a public CA's organization; its intermediate is not sent."""
    issuer = issue(name("Global TLS CA", "DigiCert Inc"), ca=True)
    return issue(name("dps.test"), issuer, hosts=[HOST])


def signed_with_sha1(pki: Pki) -> Issued:
    issuing = issue(name("RSA Issuing"), pki.root, ca=True, key=strong_rsa())
    return with_sha1(issue(name("dps.test"), issuing, hosts=[HOST], above=[issuing]), issuing)


def under_sha1(pki: Pki) -> Issued:
    top = issue(name("RSA Top"), pki.root, ca=True, key=strong_rsa())
    issuing = with_sha1(issue(name("Odd Issuing"), top, ca=True, key=strong_rsa()), top)
    return issue(name("dps.test"), issuing, hosts=[HOST], above=[issuing, top])


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


@asynccontextmanager
async def no_ca_file(world: World) -> AsyncIterator[Device]:
    async with world.good():
        missing = str(Path(world.folder) / "missing.pem")
        tls_module._contexts.clear()  # as in a process of its own
        yield Device(
            tls=TlsConfig(),
            environ={"SSL_CERT_FILE": missing, "SSL_CERT_DIR": str(world.folder / "none")},
        )
        tls_module._contexts.clear()


EXPIRED, NAME = Cause.CERTIFICATE_EXPIRED, Cause.CERTIFICATE_OTHER_NAME
TLS = Hop.TLS

ROWS = [
    Row("a chain of three", showing(leaf())),
    Row("the chain is in disorder", showing(disordered)),
    Row("the root is sent too", showing(lambda pki: pki.leaf(above=[pki.issuing, pki.root]))),
    Row(
        "the CA that is given is the intermediate",
        showing(alone, trust=trusting(lambda p: p.issuing.pem)),
    ),
    Row("name constraints that permit the name", showing(constrained(permitted="dps.test"))),
    Row(
        "the server's certificate has expired",
        showing(leaf(begins=-400, ends=-35)),
        *(TLS, EXPIRED, Party.SERVER),
        says=("35 days ago", "server's own certificate", "must renew it", "CN=dps.test"),
    ),
    Row(
        "the intermediate has expired",
        showing(under(begins=-700, ends=-270)),
        *(TLS, EXPIRED, Party.SERVER),
        says=("270 days ago", "CN=Odd Issuing", "intermediate", "current intermediate"),
        never=("in -", " -270"),
    ),
    Row(
        "the trusted root has expired",
        showing(expired_root, trust=trust_old_root),
        *(TLS, EXPIRED, Party.HOST),
        says=("CN=Old Root", "trusted on this machine", "--ca"),
    ),
    Row(
        "the certificate begins in the future",
        showing(leaf(begins=40, ends=400)),
        *(TLS, Cause.CERTIFICATE_NOT_YET_VALID, Party.HOST),
        says=("in 40 days", "clock is behind"),
    ),
    Row(
        "the intermediate begins in the future",
        showing(under(begins=40, ends=400)),
        *(TLS, Cause.CERTIFICATE_NOT_YET_VALID, Party.HOST),
        says=("CN=Odd Issuing",),
    ),
    Row(
        "the certificate is for another name",
        showing(leaf(hosts=["other.test", "www.other.test"])),
        *(TLS, NAME, Party.SERVER),
        says=("another name (for other.test, www.other.test; subject", "names:      other.test"),
    ),
    Row(
        "a wildcard for another domain",
        showing(leaf(hosts=["*.example"])),
        *(TLS, NAME, Party.SERVER),
        says=("*.example",),
    ),
    Row("the name stands in the common name only", showing(leaf(hosts=[]))),
    Row(
        "a self-signed certificate",
        showing(self_signed, trust=nothing),
        *(TLS, Cause.CERTIFICATE_SELF_SIGNED, Party.SERVER),
        says=("its own issuer", "appliance"),
        never=("intercepting",),
    ),
    Row(
        "a self-signed certificate at the public name",
        showing(lambda pki: issue(name("x"), hosts=[PUBLIC]), trust=nothing, host=PUBLIC),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("re-signed", PUBLIC),
    ),
    Row(
        "a private CA that is not given, its root is sent",
        showing(lambda pki: pki.leaf(above=[pki.issuing, pki.root]), trust=nothing),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("CN=Field Root", "not a public issuer", "--ca", "or the server"),
    ),
    Row(
        "Zscaler re-signs TLS",
        showing(by_interceptor("Zscaler Inc."), trust=nothing),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Zscaler", "exempt dps.test", "--ca"),
        never=("or the server",),
    ),
    Row(
        "a gateway re-signs TLS of the public name",
        showing(by_interceptor_alone, trust=nothing, host=PUBLIC),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Gateway CA", "re-signed"),
        never=("or the server",),
    ),
    Row(
        "a gateway re-signs TLS and sends its leaf alone",
        showing(by_interceptor_alone, trust=nothing),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Gateway CA", "If it is an intermediate CA"),
    ),
    Row(
        "the CA that is given is another one",
        showing(by_interceptor("Corp Gateway"), trust=foreign),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Elsewhere Inc", "is not the one that signed it"),
    ),
    Row(
        "the server does not send its intermediate",
        showing(alone),
        *(TLS, Cause.INTERMEDIATE_MISSING, Party.SERVER),
        says=("Field Issuing 1", "does not send", "whole chain"),
        never=("intercepting",),
    ),
    Row(
        "a public CA's intermediate is not sent",
        showing(by_public_name, trust=nothing),
        *(TLS, Cause.INTERMEDIATE_MISSING, Party.SERVER),
        says=("DigiCert", "does not send its intermediate"),
        never=("intercepting",),
    ),
    Row(
        "a key of 1024 bits",
        showing(leaf(key=weak_rsa), weak=True),
        *(TLS, Cause.CERTIFICATE_WEAK, Party.SERVER),
        says=("1024 bits", "too weak"),
        never=("another name",),
    ),
    Row(
        "an intermediate with a key of 1024 bits",
        showing(under(key=weak_rsa), weak=True),
        *(TLS, Cause.CERTIFICATE_WEAK, Party.SERVER),
        says=("1024 bits", "CN=Odd Issuing"),
        never=("another name",),
    ),
    Row(
        "a signature with SHA-1",
        showing(signed_with_sha1, weak=True),
        *(TLS, Cause.CERTIFICATE_WEAK, Party.SERVER),
        says=("SHA1", "too weak"),
        never=("another name",),
    ),
    Row(
        "an intermediate signed with SHA-1",
        showing(under_sha1, weak=True),
        *(TLS, Cause.CERTIFICATE_WEAK, Party.SERVER),
        says=("SHA1", "CN=Odd Issuing"),
    ),
    Row(
        "name constraints that exclude the name",
        showing(constrained(excluded="test")),
        *(TLS, Cause.CERTIFICATE_CONSTRAINT, Party.SERVER),
        says=("exclude", "CN=Odd Issuing"),
        never=("is for another name",),
    ),
    Row(
        "name constraints that permit another name",
        showing(constrained(permitted="example.com")),
        *(TLS, Cause.CERTIFICATE_CONSTRAINT, Party.SERVER),
        says=("do not permit",),
        never=("is for another name",),
    ),
    Row(
        "a path length of 0 above an intermediate",
        showing(too_deep),
        *(TLS, Cause.CERTIFICATE_CONSTRAINT, Party.SERVER),
        says=("CN=First", "path length"),
    ),
    Row(
        "a certificate for clients only",
        showing(leaf(usage=ExtendedKeyUsageOID.CLIENT_AUTH)),
        *(TLS, Cause.CERTIFICATE_PURPOSE, Party.SERVER),
        says=("serverAuth",),
        never=("another name",),
    ),
    Row(
        "a certificate that is no CA has signed it",
        showing(no_ca_signs),
        *(TLS, Cause.CERTIFICATE_PURPOSE, Party.SERVER),
        says=("no CA",),
    ),
    Row(
        "an unknown critical extension",
        showing(leaf(extra=[(UNKNOWN_EXTENSION, True)])),
        *(TLS, Cause.CERTIFICATE_CONSTRAINT, Party.SERVER),
        says=("critical extension",),
        never=("another name",),
    ),
    Row(
        "a wrong signature",
        showing(badly_signed),
        *(TLS, Cause.CERTIFICATE_BROKEN, Party.SERVER),
        says=("signature is wrong",),
    ),
    Row(
        "SSL_CERT_FILE names a file that does not exist",
        no_ca_file,
        *(TLS, Cause.NO_TRUSTED_CA, Party.HOST),
        says=("SSL_CERT_FILE", "does not exist"),
        never=("install the package",),
    ),
]
