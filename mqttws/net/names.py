"""Host names: their ASCII form (IDNA 2008), and the names of public cloud services.

Knows no network.
"""

import ipaddress
import re

from ..errors import UsageError

_DOTS = re.compile("[.。．｡]")  # UTS 46 section 2.3  # noqa: RUF001
_JOINERS = "\u200c\u200d"

PUBLIC_SUFFIXES = (
    "azure-devices-provisioning.net",
    "azure-devices-provisioning.cn",
    "azure-devices-provisioning.us",
    "azure-devices.net",
    "azure-devices.cn",
    "azure-devices.us",
    "azure.com",
    "windows.net",
    "amazonaws.com",
    "googleapis.com",
)
"""Domains of public cloud services: many front ends, public certificates, never down for long."""


def ascii_name(host: str) -> str:
    """Return a host name as the network needs it: lower case, each label in ASCII.

    A label with other letters becomes its A-label as IDNA 2008 has it (RFC 5891), mapped as
    browsers and curl map it (UTS 46, non-transitional): ``straße`` is ``xn--strae-oqa``. Python's
    own codec is IDNA 2003 and would ask for another domain, ``strasse``. The full tables of code
    points are left to the registries: a name that they forbid has no address.

    Raises:
        UsageError: a label cannot be part of a host name.
    """
    if host.isascii():
        return host.lower()
    labels = [_label(label, host) for label in _DOTS.split(host)]
    return ".".join(labels)


def plain_host(host: str) -> str | bytes:
    """Return a host name as Python's ``socket`` and ``ssl`` take it without their codec for IDNA.

    Its tables take 0.4 MB of memory, and an ASCII name does not need them.
    """
    return host.encode("ascii") if host.isascii() else host


def _label(label: str, host: str) -> str:
    import unicodedata  # here: few hosts have such a name, and its tables are large

    # Letter by letter: str.lower() of a whole word makes another letter of a final sigma.
    folded = unicodedata.normalize("NFKC", "".join(c.lower() for c in label))
    if folded.isascii():
        return folded
    if not all(c in _JOINERS or c == "-" or unicodedata.category(c)[0] in "LMN" for c in folded):
        raise UsageError(
            f"{host[:100]!r} is not a host name: it holds a character that no host name may have"
        )
    made = "xn--" + folded.encode("punycode").decode("ascii")
    if len(made) > 63:  # RFC 1035 section 2.3.4
        raise UsageError(f"{host[:100]!r} is not a host name: a part of it is too long")
    return made


def is_local(host: str) -> bool:
    """Whether a host name means this machine itself: no network lies between."""
    name = ascii_name(host.rstrip("."))
    return name in ("localhost", "::1") or name.startswith("127.")


def is_public_service(host: str) -> bool:
    """Whether a host name belongs to a public cloud service, which does not refuse, nor re-sign."""
    name = host.rstrip(".").lower()
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in PUBLIC_SUFFIXES)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address: nothing leaves the machine then."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
