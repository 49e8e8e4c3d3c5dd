"""The rules of ``no_proxy``: servers that are reached without the environment's proxies."""

import ipaddress
from collections.abc import Mapping

from .names import ascii_name


def is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether a server is reached without the proxies of the environment.

    ``no_proxy`` is a list, separated by commas or blanks: ``*`` for all; ``example.com`` and
    ``.example.com`` for that domain and those in it; an address; a network such as
    ``10.0.0.0/8``; each with ``:port`` behind it or not, IPv6 then in brackets. The loopback
    addresses and ``localhost`` need no entry: a proxy would take them for its own.
    """
    host = ascii_name(host.rstrip("."))
    address = _ip(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    rules = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(
        _rule_matches(rule.lower(), host, address, port) for rule in rules.replace(",", " ").split()
    )


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _ip(text: str) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def _rule_matches(rule: str, host: str, address: IpAddress | None, port: int) -> bool:
    name, rule_port = _split_port(rule)
    if rule_port is not None and rule_port != str(port):
        return False
    if name == "*":
        return True
    if address is not None:
        return _network_holds(name, address)
    name = ascii_name(name.removeprefix("*").strip("."))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(rule: str) -> tuple[str, str | None]:
    """Part ``host:port``; a bare IPv6 address has no port."""
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return (name + rest, None) if not rest.startswith(":") else (name, rest[1:])
    name, colon, port = rule.rpartition(":")
    return (name, port) if colon and ":" not in name else (rule, None)


def _network_holds(name: str, address: IpAddress) -> bool:
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return address.version == network.version and address in network
