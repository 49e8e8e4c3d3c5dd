"""The evidence about a failure: what was walked, what else was tried, what peers said.

Knows no network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..hops import Hop
from ..net.certificate import parse_certificate
from ..net.hops import Step
from ..net.issuers import names_inspector
from ..net.names import is_public_service
from ..net.tls import default_roots
from .name_servers import Answered
from .report import Alternative, Way


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence about a failure besides the error.

    Attributes:
        host: the server's name.
        steps: the hops that were walked.
        alternatives: the other ways that were tried.
        skew: seconds that this host's clock is ahead, if that is known.
        name_servers: their answers, where the name could not be resolved.
        certified: whether the device shows a certificate.
        proxy: the URL of the proxy that the way led through; empty for none.
    """

    host: str
    steps: Sequence[Step] = ()
    alternatives: Sequence[Alternative] = ()
    skew: float | None = None
    name_servers: Sequence[Answered] = field(default=())
    certified: bool = False
    proxy: str = ""

    def works(self, way: Way) -> bool:
        """Whether another way that was tried is open."""
        return any(other.works and other.way is way for other in self.alternatives)

    @property
    def addresses(self) -> str:
        """The addresses to which the server's name led, or the blocked one that was answered."""
        for step in self.steps:
            if step.hop is Hop.NAME and "addresses" in step.facts:
                return step.facts["addresses"]
        return ""

    @property
    def issuer(self) -> str:
        """The issuer of the server's certificate, where TLS was made or failed on it."""
        for step in self.steps:
            if step.hop is Hop.TLS and step.certificates:
                try:
                    return parse_certificate(step.certificates[0]).issuer
                except ValueError:
                    return ""
        return ""

    @property
    def resigned(self) -> bool:
        """Whether TLS is certainly re-signed on the way: no public CA vouches for a public name."""
        for step in self.steps:
            if step.hop is Hop.TLS and step.error is None and step.certificates:
                private = step.certificates[-1] not in default_roots()
                return private and (is_public_service(self.host) or names_inspector(self.issuer))
        return False

    @property
    def genuine(self) -> bool:
        """Whether TLS was made with a certificate that leads to one of the system's own CAs."""
        return any(
            step.certificates[-1] in default_roots()
            for step in self.steps
            if step.hop is Hop.TLS and step.error is None and step.certificates
        )

    @property
    def private_ca(self) -> bool:
        """Whether the server's certificate leads to a CA that is not one of the system's."""
        return any(
            step.certificates[-1] not in default_roots()
            for step in self.steps
            if step.hop is Hop.TLS and step.error is None and step.certificates
        )
