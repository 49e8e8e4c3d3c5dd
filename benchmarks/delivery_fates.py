"""Kinds of chaos, and when each comes: every kind in turn, in a seeded order.

Which packets a publisher's and a receiver's connections carry decides which cuts there are.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

from tests.chaos import DOWN, UP, Drip, Effect, Fate

KEEP_ALIVE = 2
NOTICED_WITHIN = 1.5
"""Keep-alives within which a dead link must be noticed."""

EFFECTS = [effect.value for effect in Effect]
DRIPS = [drip.value for drip in Drip]
PUBLISHER = {
    0: [(UP, "PUBLISH"), (UP, "PINGREQ"), (DOWN, "PINGRESP")],
    1: [(UP, "PUBLISH"), (DOWN, "PUBACK")],
    2: [(UP, "PUBLISH"), (DOWN, "PUBREC"), (UP, "PUBREL"), (DOWN, "PUBCOMP")],
}
RECEIVER = {
    0: [(DOWN, "PUBLISH")],
    1: [(DOWN, "PUBLISH"), (UP, "PUBACK")],
    2: [(DOWN, "PUBLISH"), (UP, "PUBREC"), (DOWN, "PUBREL"), (UP, "PUBCOMP")],
}
ALWAYS = [(UP, "CONNECT"), (DOWN, "CONNACK"), (UP, "DISCONNECT")]
SUBSCRIBING = [(UP, "SUBSCRIBE"), (DOWN, "SUBACK")]
ONCE = {"CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "DISCONNECT", "PINGREQ", "PINGRESP"}


def kind_of(fate: Fate) -> str:
    """Return the name of a kind of chaos."""
    if fate.packet is not None:
        return f"{fate.packet} {fate.direction}"
    return fate.drip.value if fate.drip else fate.effect.value


class Fates:
    """Every kind of chaos in turn, in a seeded order, each at a seeded moment."""

    def __init__(
        self, packets: list[tuple[str, str]], chance: random.Random, only: Sequence[str] = ()
    ) -> None:
        self._chance = chance
        self._kinds: list[Any] = []
        chosen = [one for one in packets if one[1] in only]
        self._all = chosen or [*EFFECTS, *DRIPS, *packets]

    def __call__(self) -> Fate:
        if not self._kinds:
            self._kinds = self._chance.sample(self._all, len(self._all))
        chance, kind = self._chance, self._kinds.pop()
        hold = {
            Effect.PAUSE.value: 1.6 * KEEP_ALIVE,
            Effect.FIN.value: 0.3,
        }.get(kind, (NOTICED_WITHIN + 1) * KEEP_ALIVE)
        end = chance.choice([Effect.RST, Effect.FIN])
        if isinstance(kind, tuple):
            direction, packet = kind
            nth = 1 if packet in ONCE else int(math.exp(chance.uniform(0, math.log(20))))
            return Fate(
                end,
                direction,
                packet=packet,
                nth=nth,
                passed=chance.random() < 0.6,
                patience=4.0 if packet in ("PINGREQ", "DISCONNECT") else 2.0,
            )
        after = int(math.exp(chance.uniform(math.log(300), math.log(1_000_000))))
        direction = chance.choice([UP, DOWN])
        patience = chance.uniform(0.5, 1.5)
        if kind in DRIPS:
            drip = Drip(kind)
            size = 1500 if drip is Drip.SINGLE else 20_000
            return Fate(end, direction, after, patience=2.0, drip=drip, drip_bytes=size)
        return Fate(Effect(kind), direction, after, patience=patience, hold=hold)
