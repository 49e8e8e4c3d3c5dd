"""What every actor of the delivery matrix shares: its task, its log, its messages.

It needs nothing but Python, since the control runs where mqttws is not installed.
"""

import math
import os
import random
from dataclasses import dataclass

LARGEST = 16 * 1024
LARGEST_SELDOM = 1024 * 1024
LONGEST_REST = 1.5
"""Seconds: of many tasks each is busy again soon, so that a cut finds exchanges unfinished."""
NUMBERED = 24
"""Bytes from which a payload holds its message's number; below, the topic does."""


@dataclass
class World:
    """What one life of the actor is given.

    Attributes:
        url: of the publisher's way and of the receiver's.
        life: 0, 1, … counts the process's starts.
        messages: to publish at least, over all lives.
        rate: messages per second that all tasks together aim at.
        limit: seconds within which every call must have ended.
    """

    kind: str
    urls: dict[str, str]
    ca: str
    username: str | None
    qos: int
    session: str
    name: str
    folder: str
    log: str
    life: int
    seed: int
    tasks: int
    messages: int
    rate: float
    keep_alive: int
    request_timeout: float
    limit: float


class Log:
    """Lines in a file, each written at once, so that a killed process loses none."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, *words: object) -> None:
        line = " ".join(map(str, words)).replace("\n", " ")
        os.write(self._file, f"{line}\n".encode())


class Writer:
    """One task's messages: their numbers, sizes and moments."""

    def __init__(self, world: World, task: int) -> None:
        self.chance = random.Random(f"{world.seed}.{world.life}.{task}")
        self._world = world
        self._task = task
        self._count = 0

    def message(self) -> tuple[str, str, bytes]:
        """Return the next message's number, topic and payload."""
        ident = f"{self._world.life}-{self._task}-{self._count}"  # RabbitMQ makes "/" of "."
        self._count += 1
        largest = LARGEST_SELDOM if self.chance.random() < 1 / 500 else LARGEST
        size = int(math.exp(self.chance.uniform(0, math.log(largest + 1)))) - 1
        topic = f"d/{self._world.name}/{self._task}"
        if size < NUMBERED:
            return ident, f"{topic}/{ident}", bytes(size)
        return ident, topic, ident.encode().ljust(NUMBERED) + bytes(size - NUMBERED)

    def burst(self) -> tuple[int, float]:
        """Return how many messages come at once, and the seconds of rest behind them."""
        count = int(math.exp(self.chance.uniform(0, math.log(max(1.1, 60 / self._world.tasks)))))
        rest = count * self._world.tasks / self._world.rate * self.chance.uniform(0, 2)
        return count, min(rest, LONGEST_REST)


def number_of(topic: str, payload: bytes) -> str:
    """Return a message's number."""
    if len(payload) < NUMBERED:
        return topic.rsplit("/", 1)[-1]
    return payload[:NUMBERED].decode("ascii", "replace").strip()
