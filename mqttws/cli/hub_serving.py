"""``mqttws serve --with-hub``: the hubs behind the DPS's ports, and telemetry into a file.

Knows how hubs are put beside a local DPS. How they work is ``local.hub``'s matter.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import store_failed
from ..hub.service.access import RIGHTS
from ..hub.service.telemetry import Telemetry
from ..local.dps import AsyncLocalDps
from ..local.hub import AsyncLocalHub
from ..local.numbered import json_line
from ..local.policies import load_policies
from .files import content_of, read_file
from .hub_service import write_connections

HUB_POLICIES = "hub-policies.json"
"""File in the state folder that keeps the keys of the hubs' policies."""


async def serve_hubs(
    stack: AsyncExitStack,
    *,
    dps: AsyncLocalDps,
    names: Sequence[str],
    folder: Path,
    telemetry: str | None,
    cas: Sequence[str],
) -> dict[str, Any]:
    """Serve hubs until the stack ends; return where they are, for a human and for a script.

    Args:
        stack: ends them.
        dps: running; its ports are shared.
        names: of the hubs.
        folder: the state folder, which keeps the policies' keys.
        telemetry: file for JSON Lines; ``-`` for standard output, None for none.
        cas: files of CAs whose certificates devices may show.
    """
    import mqttws.local.hub_rest  # noqa: F401 - without its extra it says so now

    hubs = []
    for name in names:
        policies = load_policies(folder / HUB_POLICIES, name, RIGHTS)
        hub = AsyncLocalHub(dps, name=name, policies=policies)
        hubs.append(await stack.enter_async_context(hub))
    for file in cas:
        ca = read_file(file, "CA")
        with content_of(file, "CA"):
            hubs[0].trust_ca(ca)
    strings = {hub.name: hub.service_connection_string() for hub in hubs}
    written = write_connections(folder, strings, dps.ca_file)
    if telemetry is not None:
        lines = stack.enter_context(_opened(telemetry))
        for hub in hubs:
            writer = asyncio.get_running_loop().create_task(_write(hub, lines))
            stack.push_async_callback(_end, writer)
    return {"names": list(strings), "connection_file": str(written), "connection_strings": strings}


def _opened(telemetry: str) -> Any:
    if telemetry == "-":
        return _Keep(sys.stdout)
    try:
        return open(telemetry, "a", encoding="ascii")
    except OSError as error:
        raise store_failed(f"telemetry: {telemetry}: {error.strerror}", error) from error


class _Keep:
    """Standard output as a context that leaves it open."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __enter__(self) -> IO[str]:
        return self._stream

    def __exit__(self, *_: object) -> None:
        pass


async def _write(hub: AsyncLocalHub, lines: IO[str]) -> None:
    """Write telemetry as it comes; what comes while it is written goes into the next write."""
    stream, sequence = hub.core.events, hub.core.events.last
    while True:
        await stream.wait(sequence)
        found = stream.after(sequence)
        sequence = found[-1].sequence
        text = "".join(f"{json_line(of)}\n" for of in found if isinstance(of, Telemetry))
        if text:
            await asyncio.to_thread(_put, lines, text)


def _put(lines: IO[str], text: str) -> None:
    with suppress(BrokenPipeError):  # the reader has gone; devices are served on
        lines.write(text)
        lines.flush()


async def _end(writer: asyncio.Task[None]) -> None:
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
