"""Decisions of doctor, provision, client and fleet, each hint and sentence replaced by ``x``.

A table of errors of every class, cause and hop is decided about twice, the second time without a
word: cause, party and the party beside it must be the same, when provision goes on, and whether a
fleet does.
"""

import random
from collections.abc import Iterator

import pytest

from mqttws import (
    Backoff,
    Cause,
    ConnectRefused,
    Hop,
    MqttwsError,
    ProxyRefused,
    RegistrationRejected,
    Step,
    SymmetricKey,
)
from mqttws.doctor.evidence import Evidence
from mqttws.doctor.judge import judge
from mqttws.doctor.name_servers import Answered
from mqttws.doctor.report import Alternative, Way
from mqttws.dps.registration import Registration
from mqttws.errors import ConnectFailed
from mqttws.net.hops import Walk
from mqttws.provisioning import fleet
from mqttws.provisioning.exchange import Exchange
from mqttws.provisioning.plan import Plan
from mqttws.retry import reconnect_wait

from .test_errors import PUBLIC

HOPS = (None, *Hop)
HOSTS = ("dps.test", "global.azure-devices-provisioning.net")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SENTENCE = "no route: certificate expired, proxy says 407, TLS 1.3 refused, timed out"


def errors() -> Iterator[MqttwsError]:
    """Yield an error of each class with each cause, and a ConnectFailed of each hop and cause."""
    for kind in PUBLIC:
        for cause in Cause:
            yield kind(SENTENCE, cause=cause, hint=SENTENCE)
    for hop in HOPS:
        for cause in Cause:
            yield ConnectFailed(SENTENCE, cause=cause, hop=hop, hint=SENTENCE)
    for code in range(1, 6):
        yield ConnectRefused(SENTENCE, return_code=code, hint=SENTENCE)


def wordless(error: MqttwsError) -> None:
    """Replace an error's sentence and hint."""
    error.args = tuple("x" if isinstance(one, str) else one for one in error.args)
    error.hint = "x"


def evidence(error: MqttwsError, host: str, words: str) -> Iterator[Evidence]:
    """Yield kinds of evidence beside an error; ``words`` stands wherever there is a sentence."""
    hop = error.hop or Hop.TLS
    steps = [Step(hop, words, 0.0, 1.0, error)]
    yield Evidence(host, steps)
    yield Evidence(host, steps, skew=200_000.0)
    yield Evidence(host, steps, certified=True, proxy="http://p:3128")
    yield Evidence(host, steps, name_servers=[Answered("192.0.2.1", "SERVFAIL")])
    for way in Way:
        yield Evidence(host, steps, [Alternative(words, True, words, way)], proxy="http://p:3128")


def verdicts(error: MqttwsError, words: str) -> list[tuple[object, ...]]:
    """Return the doctor's verdict for each host and kind of evidence, without its reasons."""
    found = []
    for host in HOSTS:
        for seen in evidence(error, host, words):
            verdict = judge(error, error.hop, seen)
            found.append((verdict.cause, verdict.party, verdict.also, bool(verdict.because)))
    return found


def test_the_doctors_verdict_does_not_depend_on_a_sentence_or_a_hint() -> None:
    different = set()
    for error in errors():
        before = verdicts(error, SENTENCE)
        different.update(before)
        wordless(error)
        assert verdicts(error, "x") == before, repr(error)
    assert len(different) > 50  # the table tells failures apart


@pytest.mark.parametrize("patient", [False, True])
async def test_provisions_waits_do_not_depend_on_a_sentence_or_a_hint(
    patient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    credential = SymmetricKey("dev", KEY)
    plan = Plan("0ne00TEST", credential, host="dps.test", wait_for_network=patient)

    def waits(error: MqttwsError) -> list[float | None]:
        """Return the waits after the same failure, four times in a row."""
        registration = Registration(
            "dev", payload=None, request_ids=iter("abcd"), jitter=lambda: 0.0, spread=lambda: 0.5,
            max_retry_after=60.0, answer_timeout=30.0,
        )  # fmt: skip
        walk = Walk(timeout=1e6, hop_timeout=15.0, request_timeout=30.0, on_step=None)
        exchange = Exchange(plan, registration, walk)
        return [exchange._wait_after(error) for _ in range(4)]

    different = set()
    for error in errors():
        before = waits(error)
        different.add(tuple(before))
        wordless(error)
        assert waits(error) == before, repr(error)
    assert len(different) > 1  # some go on, some end


def test_a_clients_waits_do_not_depend_on_a_sentence_or_a_hint() -> None:
    def waits(error: MqttwsError) -> list[float | None]:
        """Return the waits before the next attempts, with each kind of login."""
        return [
            reconnect_wait(error, attempt, 0.5, Backoff(), fresh_login=fresh)
            for attempt in range(3)
            for fresh in (False, True)
        ]

    different = set()
    for error in errors():
        before = waits(error)
        different.add(tuple(before))
        wordless(error)
        assert waits(error) == before, repr(error)
    assert len(different) >= 3  # some end the client, some wait longer


async def test_whether_a_fleet_goes_on_does_not_depend_on_a_sentence_or_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credentials = [SymmetricKey(f"dev-{number}", KEY) for number in range(2)]

    async def results(error: MqttwsError) -> tuple[object, ...]:
        """Return what becomes of two devices that fail like this, and of the fleet."""

        async def fail(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(fleet, "provision_async", fail)
        told: list[object] = []
        ended: type[BaseException] | None = None
        try:
            await fleet.provision_fleet_async(
                "0ne00TEST", credentials, lambda result: told.append(result.error), jitter=0.0
            )
        except MqttwsError as raised:
            ended = type(raised)
        return len(told), ended

    different = set()
    kinds = (MqttwsError, ProxyRefused, RegistrationRejected)
    for error in (kind(SENTENCE, cause=cause, hint=SENTENCE) for cause in Cause for kind in kinds):
        before = await results(error)
        different.add(before)
        wordless(error)
        assert await results(error) == before, repr(error)
    assert {found[0] for found in different} >= {0, 2}  # some end the fleet, some do not
