"""Metrics of a local DPS for Prometheus, over all front ends of one ``mqttws serve``.

Knows ``prometheus_client``, which has the text format and the sums over processes (extra
``metrics``). They are fed by the service's events. No id of a device is in a label.
"""

import asyncio
from typing import Any

from ..errors import UsageError
from .dps import AsyncLocalDps
from .dps_events import DpsEvent

try:
    import prometheus_client
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
except ImportError:
    raise UsageError(
        "metrics need prometheus_client, which is not installed",
        hint="pip install 'mqttws[metrics]'",
    ) from None

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counts what happens at a local DPS, from now on.

    Args:
        dps: whose.
        shared: whether other processes count too, in prometheus_client's folder of figures.
    """

    def __init__(self, dps: AsyncLocalDps, *, shared: bool) -> None:
        self._dps = dps
        self._shared = shared
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "mqttws_dps_requests",
            "Requests that were answered.",
            ("request", "status"),
            registry=registry,
        )
        self._assigned = Counter(
            "mqttws_dps_assigned",
            "Registrations that ended well.",
            ("substatus",),
            registry=registry,
        )
        self._refused = Counter(
            "mqttws_dps_refused",
            "Connections that were refused, by the hop.",
            ("hop",),
            registry=registry,
        )
        self._faults = Counter(
            "mqttws_dps_faults", "Ordered faults that struck.", ("fault",), registry=registry
        )
        self._conflicts = Counter(
            "mqttws_dps_conflicts", "Decisions that another one had made void.", registry=registry
        )
        self._store_errors = Counter(
            "mqttws_dps_store_errors", "Requests that the records failed.", registry=registry
        )
        self._connections = Gauge(
            "mqttws_dps_connections",
            "Open MQTT connections.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._seconds = Histogram(
            "mqttws_dps_request_seconds",
            "Time from a request to its decision, committed.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._seen = (0, 0)
        dps.front.on_served = self._seconds.observe
        dps.front.events.on_event = self._count

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        self._follow()
        if not self._shared:
            return prometheus_client.generate_latest(self._registry)
        registry = CollectorRegistry()
        collect: Any = multiprocess.MultiProcessCollector  # it has no types
        collect(registry)
        return prometheus_client.generate_latest(registry)

    def stop(self) -> None:
        """Count no more."""
        self._dps.front.on_served = None
        self._dps.front.events.on_event = None

    def _count(self, event: DpsEvent) -> None:
        data = event.data
        match event.kind:
            case "request":
                self._requests.labels(data["request"], data["status"]).inc()
            case "assigned":
                self._assigned.labels(data["substatus"]).inc()
            case "refused":
                self._refused.labels(data["hop"]).inc()
            case "fault":
                self._faults.labels(data["fault"]).inc()
            case "connected" | "disconnected":  # its connection joins, or leaves, right after
                asyncio.get_running_loop().call_soon(self._follow)

    def _follow(self) -> None:
        """Bring up to date what the service counts itself."""
        counts = self._dps.service.counts
        conflicts, failures = self._seen
        self._seen = counts.conflicts, counts.store_failures
        self._conflicts.inc(counts.conflicts - conflicts)
        self._store_errors.inc(counts.store_failures - failures)
        self._connections.set(self._dps.front.connections)
