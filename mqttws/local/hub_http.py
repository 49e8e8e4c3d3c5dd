"""aiohttp, which serves the hub's service API; without it there is none."""

from ..errors import UsageError

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the hub's service API needs aiohttp, which is not installed",
        hint="pip install 'mqttws[admin]'",
    ) from None

__all__ = ["web"]
