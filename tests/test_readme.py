"""README's Python snippets run as they stand there.

What is put in their place is in ``SUBSTITUTES`` and nothing else: addresses of hosts that are not
there lead to a local DPS, hub or broker. ``print`` ends a loop that goes on for ever, once it has
printed something. No proxy runs here: that snippet must fail at its proxy, which is not there;
tests/networks has the proxies.
"""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws import LocalDps, LocalHub

from .client.broker import broker
from .documents import ROOT, blocks, enough, run

SNIPPETS = [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
SUBSTITUTES = {
    '("0ne00ABCDEF", credential)': "(dps.id_scope, credential, **dps.options)",
    '("0ne00ABCDEF", credential, ': (
        "(dps.id_scope, credential, host=dps.host, port=dps.wss_port, "
    ),
    "proxy-ca.pem": "{ca_file}",
    "proxy.example:3128": "127.0.0.1:{closed_port}",
    "hub_client(credential)": "hub_client(credential, **dps.options)",
    "wss://broker.example/mqtt": "ws://127.0.0.1:{broker_port}/mqtt",
}
RUN_BY = {
    "proxy.example": "proxy",
    "credential = mqttws.SymmetricKey(": "device",
    "assignment.hub_client(": "device",
    "def test_a_throttled_device": "device",
    "broker.example": "broker",
    "from mqttws.wire import": "alone",
}
"""Which test runs a snippet, by something that stands in it; the first that fits."""


def runner(snippet: str) -> str:
    return next(name for part, name in RUN_BY.items() if part in snippet)


def of(name: str) -> list[Any]:
    chosen = [snippet for snippet in SNIPPETS if runner(snippet) == name]
    return [pytest.param(text, id=text.strip().splitlines()[-1][:40]) for text in chosen]


def substituted(snippet: str, **addresses: object) -> str:
    for there, here in SUBSTITUTES.items():
        for name, value in addresses.items():
            here = here.replace(f"{{{name}}}", str(value))  # noqa: PLW2901
        snippet = snippet.replace(there, here)
    return snippet


def test_the_figures_are_those_of_the_last_run_of_the_benchmarks():
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    rows = re.findall(
        r"^\| .+ \| ([\d.]+) \| .+ \| ([\d.]+) \| (\W*\w[\w ]+\W*) \|$",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) >= 6
    for ratio, goal, verdict in rows:
        assert f"| {ratio} | ≤ {goal} | {verdict} |" in measured


def test_every_snippet_is_run():
    assert len(SNIPPETS) >= 7
    assert {runner(snippet) for snippet in SNIPPETS} == {"device", "proxy", "alone", "broker"}


@pytest.fixture
def dps(dps_state: Path) -> Iterator[LocalDps]:
    with LocalDps(state=dps_state, retry_after=0) as running:
        yield running


@pytest.mark.parametrize("snippet", of("device"))
def test_a_device(snippet: str, dps: LocalDps):
    with LocalHub(dps, name="local-hub.azure-devices.net") as hub:
        run_with_a_device(snippet, dps, hub)


def run_with_a_device(snippet: str, dps: LocalDps, hub: LocalHub) -> None:
    names: dict[str, Any] = {"mqttws": mqttws, "dps": dps}
    if "def test_" not in snippet:
        names["device_key"] = key = dps.enroll_device("my-device")
        names["credential"] = credential = mqttws.SymmetricKey("my-device", key)
    if "assignment." in snippet and "assignment =" not in snippet:
        names["assignment"] = mqttws.provision(dps.id_scope, credential, **dps.options)
    if "desired_changes" in snippet:
        names["print"] = enough
        hub.patch_twin("my-device", desired={"interval": 5})
    run(substituted(snippet), names)
    if "desired_changes" in snippet:
        assert names["printed"]
        assert hub.next_telemetry().payload == b'{"temperature":21.5}'
    if "def test_a_throttled" in snippet:
        names["test_a_throttled_device_gets_its_hub"](dps)


@pytest.mark.parametrize("snippet", of("proxy"))
def test_the_proxy_that_is_named_is_used(snippet: str, dps: LocalDps):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    credential = mqttws.SymmetricKey("my-device", "c2VjcmV0LXNlY3JldC1zZWNyZXQ=")
    with pytest.raises(mqttws.ConnectFailed, match=str(port)):
        run(
            substituted(snippet, closed_port=port, ca_file=dps.ca_file),
            {"mqttws": mqttws, "dps": dps, "credential": credential},
        )


@pytest.mark.parametrize("snippet", of("alone"))
def test_what_needs_no_other(snippet: str):
    run(snippet, {"mqttws": mqttws})


@pytest.mark.parametrize("snippet", of("broker"))
async def test_a_client_of_a_broker(snippet: str):
    async with broker(websocket=True) as server:
        names: dict[str, Any] = {"print": enough}
        text = substituted(snippet, broker_port=server.port)
        await asyncio.to_thread(run, text, names)
        assert names["printed"]
