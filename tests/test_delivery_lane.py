"""A broker that hangs is started anew, and the cell tried again: the client had no part in it."""

import os
import signal
from pathlib import Path

import pytest

from benchmarks import delivery_lane
from benchmarks.delivery_cells import CELLS, Cell
from benchmarks.delivery_lane import Lane
from benchmarks.delivery_trial import Place

from .net.rogue import Certificates
from .peers.brokers import Mosquitto, server_pem

SEED = 1
RESTARTED = [
    cell
    for cell in CELLS
    if cell[:4] == ("async", 1, "persistent", "mosquitto") and cell.restart(SEED) == "SIGTERM"
]


class Hanging(Mosquitto):
    """mosquitto that stands still the first time when it is to end, or at once."""

    hangs = 1

    def hang(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)  # a SIGTERM waits, as in a loop without end

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self.hangs:
            self.hangs -= 1
            self._deadline = 1.0
            self.hang()
        await super().stop(number)
        self._deadline = 20.0


def lane_of(tmp_path: Path) -> Lane:
    certificates = Certificates(tmp_path)
    broker = Hanging(tmp_path, server_pem(certificates), window=20)
    return Lane(Place(broker, tmp_path, certificates, Path.cwd(), SEED, messages=60, cuts=3))


@pytest.mark.slow
@pytest.mark.timeout(300)  # a cell may take a minute, and it is tried twice
async def test_a_broker_that_does_not_end_is_killed_and_the_cell_is_tried_again(
    tmp_path: Path,
) -> None:
    lane = lane_of(tmp_path)
    try:
        await lane.place.broker.start()
        cell: Cell = RESTARTED[0]
        row = await lane.cell(cell)
    finally:
        lane.place.broker.kill()
    assert row["broker"][0].startswith("hung, was killed, and the cell tried again: did not end")
    assert row["faults"] == []
    assert row["accepted"] >= 60


@pytest.mark.parametrize("scheme", ["mqtt", "wss"])
async def test_whether_a_broker_still_answers(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = lane_of(tmp_path)
    try:
        await lane.place.broker.start()
        assert await lane.answers(scheme)
        monkeypatch.setattr(delivery_lane, "ANSWERS_WITHIN", 0.3)
        lane.place.broker.hang()
        assert not await lane.answers(scheme)
    finally:
        lane.place.broker.kill()
