"""Whose a failure probably is, where no real program makes it: judged from the error alone."""

import pytest

from mqttws import ConnectFailed, ConnectRefused, Hop, MqttwsError, ProxyRefused, Step, TlsFailed
from mqttws.doctor.advice import (
    advise,
    clock_skew,
    describe_chain,
    expiry_warnings,
)
from mqttws.doctor.report import Alternative
from mqttws.hops import Party

DAYS = 86_400.0


@pytest.mark.parametrize(
    ("code", "party"),
    [(1, Party.SERVER), (2, Party.HOST), (3, Party.SERVER), (4, Party.HOST), (5, Party.HOST)],
)
def test_a_refusing_connack_is_whose_its_code_says(code: int, party: Party) -> None:
    assert ConnectRefused(return_code=code).party is party


@pytest.mark.parametrize(
    "error",
    [ConnectFailed("closed", hop=Hop.CONNECT, hint="see the log"), TlsFailed("no", hop=Hop.TLS)],
)
def test_a_clock_that_is_far_off_comes_first_where_time_matters(error: MqttwsError) -> None:
    for skew in (2 * DAYS, -2 * DAYS):
        party, advice = advise(error, (), (), skew)
        assert party is Party.HOST
        assert advice[0].startswith("set this host's clock")
    for skew in (None, 0.0, 200.0, -200.0):
        party, advice = advise(error, (), (), skew)
        assert party is Party.SERVER
        assert not any("clock" in line for line in advice)


def test_a_clock_that_is_far_off_does_not_explain_a_port_that_is_shut() -> None:
    party, advice = advise(ConnectFailed("refused", hop=Hop.TCP), (), (), 2 * DAYS)
    assert party is Party.SERVER
    assert advice == ()


@pytest.mark.parametrize(
    ("works", "party"),
    [("without the proxy", Party.PROXY), ("port 8883", Party.SERVER), (None, Party.SERVER)],
)
def test_a_server_that_answers_without_the_proxy_is_not_to_blame(
    works: str | None, party: Party
) -> None:
    error = ProxyRefused("503", hop=Hop.PROXY, status=503)
    ways = [Alternative(name, name == works, "") for name in ("without the proxy", "port 8883")]
    assert advise(error, (), ways, None)[0] is party


@pytest.mark.parametrize(
    "date",
    ["", "x", "Mon, 01 Jan 2024 00:00:00 +99999999999999999", "Mon, 01 Jan 99999 00:00:00 GMT"],
)
def test_a_date_that_is_none_tells_nothing_of_the_clock(date: str) -> None:
    assert clock_skew([Step(Hop.UPGRADE, facts={"date": date})], 0.0) is None


def test_a_certificate_that_cannot_be_read_is_passed_over() -> None:
    assert describe_chain([b"no certificate"]) == {}
    assert expiry_warnings([Step(Hop.TLS, certificates=(b"no certificate",))], 0.0) == ()
