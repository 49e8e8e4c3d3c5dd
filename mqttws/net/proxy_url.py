"""A proxy's URL, taken apart and checked. No message shows it: it may hold a login."""

from urllib.parse import SplitResult, urlsplit

from ..errors import UsageError

DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4a": 1080}
"""What a proxy may speak, and where it listens if its URL names no port."""


def has_login(url: str) -> bool:
    """Whether a proxy's URL holds a login."""
    return "@" in url


_ESCAPES = "a password's / ? # @ : % are written %2F %3F %23 %40 %3A %25"
_NOT_IN_A_HOST = frozenset(" *%!\"'`$&()<>=\\^{|},;~")
_MEANT_NONE = frozenset({"direct", "off", "no", "false"})
"""Words of other programs for no proxy; as the name of a proxy they would be sent a request."""


def split(url: str, source: str) -> SplitResult:
    """Take a proxy's URL apart; ``host:port`` alone is taken for an HTTP proxy, as curl does.

    Raises:
        UsageError: it cannot be one; says why, without showing it.
    """
    if url != url.strip():
        raise unusable(source, "a blank stands before or behind it", "remove the blank")
    if url[:1] in "\"'`" or url[-1:] in "\"'`":
        raise unusable(source, "it stands in quotes", "remove the quotes around it")
    if url.lower().startswith(("socks://", "socks4://")):
        raise unusable(
            source,
            f"{url.partition('://')[0].lower()}:// does not say which version of SOCKS",
            "write socks5h://host:port (the proxy resolves names), or socks4a://",
        )
    parts = _parts(url if "://" in url else f"http://{url}")
    if parts is None:
        raise unusable(source, f"it is not a URL; {_ESCAPES}")
    if parts.scheme not in DEFAULT_PORTS:
        raise unusable(source, "it must begin with " + ", ".join(DEFAULT_PORTS))
    if not parts.hostname:
        raise unusable(source, "there is no host in it")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise unusable(source, f"something follows the port; {_ESCAPES}")
    if not parts.hostname.isprintable() or any(one in _NOT_IN_A_HOST for one in parts.hostname):
        raise unusable(source, "its host holds what no name or address may")
    if url.lower() in _MEANT_NONE:
        raise unusable(source, "it is no URL", "write none for no proxy")
    if parts.port == 0:
        raise unusable(source, "no proxy listens on port 0")
    return parts


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text holds a part of the URL, so it goes no further
        return None
    return parts


def unusable(source: str, reason: str, hint: str = "") -> UsageError:
    """Return the error for a proxy's URL, or for the login in it."""
    # The URL is not shown: it may hold a login, and in another place than it should.
    return UsageError(
        f"the proxy's URL ({source}) cannot be used: {reason}",
        hint=hint or "write it like http://proxy.example:3128",
    )


def address_of(parts: SplitResult) -> tuple[str, str, int]:
    """Return scheme, host and port; the scheme's usual port where none is named."""
    host = parts.hostname or ""
    return parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme]
