"""The members of faults on order: at a local DPS, and at a local hub."""

from dataclasses import replace

from .option import Option, Table
from .values import is_number, is_text, one_of, or_none, whole

_MANY = 10**9

CHAIN_FAULTS = (*("missing", "empty", "expired", "wrong-key", "wrong-name", "reversed", "broken"),)

_ANY = Option(or_none(is_text), "a device's id, or None for all", "Only this device.", None)


def _whole(least: int, most: int, sentence: str, default: int | None) -> Option:
    test, allowed = (
        whole(least, most),
        f"{least} or more" if most == _MANY else f"{least} to {most}",
    )
    if default is None:
        return Option(or_none(test), f"{allowed}, or None", sentence, None)
    return Option(test, allowed, sentence, default)


def _number(most: float, sentence: str, default: float) -> Option:
    return Option(
        lambda value: is_number(value) and 0 <= value <= most, f"0 to {most:g}", sentence, default
    )


SCHEDULE = Table(
    times=replace(
        _whole(1, _MANY, "How many are struck.", None),
        allowed="1 or more, or None for all from now on",
        default=1,
    ),
    skip=_whole(0, _MANY, "Let so many pass before.", 0),
    probability=_number(1, "How likely, 0 to 1.", 1.0),
    seed=Option(
        or_none(whole(-(2**63), 2**63)),
        "a whole number, or None",
        "The same ones are struck each time.",
        None,
    ),
)

_ANSWER = Table(
    return_code=_whole(1, 5, "Of CONNACK.", 3),
    chain=Option(
        one_of(*CHAIN_FAULTS), f"one of {', '.join(CHAIN_FAULTS)}", "Of 'bad-chain'.", "expired"
    ),
)

DPS_HOPS = (*("tls", "upgrade", "connect", "subscribe", "register", "poll", "lookup", "issue"),)

DPS_FAULT = Table(
    SCHEDULE,
    _ANSWER,
    device=_ANY,
    hop=Option(
        or_none(one_of(*DPS_HOPS)),
        f"one of {', '.join(DPS_HOPS)}, or None",
        "The leg of the way.",
        None,
    ),
    status=replace(
        _whole(200, 599, "Of 'answer'.", 500), allowed="400 to 599; 200 to 599 with a body"
    ),
    retry_after=_whole(0, 86_400, "Of 'answer': seconds.", None),
    error_code=_whole(
        100_000, 999_999, "Of 'answer': six digits that begin with the status.", None
    ),
    message=Option(or_none(is_text), "a str, or None", "Of 'answer': for the device.", None),
    body=Option(or_none(is_text), "a str, or None", "Of 'answer': instead of the JSON.", None),
    seconds=_number(3600, "Of 'delay', 'trickle', 'restart'.", 1.0),
    bytes_per_second=_whole(1, _MANY, "Of 'slow'.", 100),
    bytes=_whole(0, _MANY, "Of 'cut'.", 1),
    code=_whole(1000, 4999, "Of 'close-websocket'.", 1011),
)
"""The members of a fault at the DPS besides its kind."""

HUB_FAULT = Table(
    SCHEDULE,
    _ANSWER,
    device=_ANY,
    status=_whole(400, 599, "Of 'answer'.", 503),
    retry_after=Option(
        or_none(lambda value: is_number(value) and 0 <= value <= 86_400),
        "0 to 86400, or None",
        "Of 'answer': seconds.",
        None,
    ),
    seconds=_number(3600, "Of 'delay'.", 1.0),
)
"""The members of a fault at a hub besides its kind and its operation."""
