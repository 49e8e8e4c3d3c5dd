"""Verdicts where no real program makes the failure: judged from fields and evidence alone."""

import datetime

import pytest

from mqttws import (
    ConnectFailed,
    ConnectRefused,
    Hop,
    MqttwsError,
    ProxyRefused,
    Step,
    TlsFailed,
    UpgradeRefused,
)
from mqttws.doctor.advice import advise, telling
from mqttws.doctor.clock import clock_skew, describe_skew, expiry_warnings
from mqttws.doctor.evidence import Evidence
from mqttws.doctor.judge import Verdict, judge
from mqttws.doctor.letter import letter
from mqttws.doctor.name_servers import Answered, name_servers
from mqttws.doctor.report import Alternative, Report, Way
from mqttws.doctor.requests import requests_of
from mqttws.doctor.sentences import SENTENCES
from mqttws.doctor.sighting import sighting
from mqttws.doctor.two_parties import _OTHER, _UNKNOWN_PAIR, what_tells
from mqttws.errors import CertificateRejected, NameNotResolved, RegistrationRejected, Unreachable
from mqttws.hops import Cause, Party, usual_party
from mqttws.net.certificate import describe_chain

DAYS = 86_400.0
DATE = {"date": "Mon, 01 Jan 2024 00:00:00 GMT"}
PUBLIC = "global.azure-devices-provisioning.net"


def open_way(way: Way) -> Alternative:
    return Alternative(way.value, True, "open", way)


@pytest.mark.parametrize(
    ("code", "party"),
    [(1, Party.SERVER), (2, Party.HOST), (4, Party.HOST), (5, Party.HOST)],
)
def test_a_refusing_connack_is_judged_by_its_code(code: int, party: Party) -> None:
    error = ConnectRefused(return_code=code)
    assert judge(error, Hop.CONNECT, Evidence("dps.test")).party is party


@pytest.mark.parametrize(
    "error",
    [
        RegistrationRejected("401", status=401, cause=Cause.WRONG_KEY, hop=Hop.REGISTER),
        CertificateRejected("expired", cause=Cause.CERTIFICATE_EXPIRED),
    ],
)
@pytest.mark.parametrize("skew", [2 * DAYS, -2 * DAYS])
def test_a_clock_that_is_off_counts_where_it_explains_the_failure(
    error: MqttwsError, skew: float
) -> None:
    seen = Evidence("dps.test", [Step(Hop.UPGRADE, facts=DATE)], skew=skew)
    verdict = judge(error, error.hop, seen)
    assert verdict.party is Party.HOST
    assert "clock is wrong" in verdict.because
    (here,) = requests_of(error, error.hop, verdict, "wss://dps.test:443/p", seen)
    assert here.text.startswith("set this host's clock")


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("refused", hop=Hop.TCP, cause=Cause.REFUSED),
        CertificateRejected("unknown", cause=Cause.INTERCEPTED),
        CertificateRejected("name", cause=Cause.CERTIFICATE_OTHER_NAME),
        TlsFailed("no", cause=Cause.NO_COMMON_CIPHER),
    ],
)
def test_a_clock_that_is_off_does_not_explain_other_failures(error: MqttwsError) -> None:
    seen = Evidence("dps.test", [Step(Hop.UPGRADE, facts=DATE)], skew=2 * DAYS)
    verdict = judge(error, error.hop, seen)
    assert verdict.party is not Party.HOST
    assert not any("clock" in line for line in advise(error, verdict, seen))


def test_a_proxys_clock_alone_accuses_nobody() -> None:
    error = CertificateRejected("expired", cause=Cause.CERTIFICATE_EXPIRED)
    seen = Evidence("dps.test", [Step(Hop.PROXY, facts=DATE)], skew=2 * DAYS)
    assert judge(error, Hop.TLS, seen).party is Party.SERVER
    assert "one of the two is wrong" in describe_skew(2 * DAYS, 0.0, proxys=True)


@pytest.mark.parametrize(
    ("way", "party"), [(Way.WITHOUT_PROXY, Party.PROXY), (Way.OTHER_TRANSPORT, Party.SERVER)]
)
def test_a_server_that_answers_without_the_proxy_is_not_to_blame(way: Way, party: Party) -> None:
    error = ProxyRefused("503", status=503, cause=Cause.PROXY_CANNOT_REACH)
    seen = Evidence("dps.test", alternatives=[open_way(way)], proxy="http://p:3128")
    assert judge(error, Hop.PROXY, seen).party is party


@pytest.mark.parametrize(("proxied", "party"), [(False, Party.NETWORK), (True, Party.PROXY)])
def test_a_server_that_answers_tls_1_2_only_here_names_a_middlebox(
    proxied: bool, party: Party
) -> None:
    error = TlsFailed("cut", cause=Cause.CUT_OFF, hint="a server without TLS 1.2")
    seen = Evidence(
        "dps.test", alternatives=[open_way(Way.TLS_1_2)], proxy="http://p:3128" * proxied
    )
    verdict = judge(error, Hop.TLS, seen)
    assert (verdict.cause, verdict.party) == (Cause.TLS_1_3_INTOLERANT, party)
    advice = advise(error, verdict, seen)
    assert advice == (f"use what works: {Way.TLS_1_2.value}",)
    assert not any("without TLS 1.2" in line for line in advice)


@pytest.mark.parametrize(
    ("codes", "cause", "party"),
    [
        (["NXDOMAIN"], Cause.NAME_UNKNOWN, Party.HOST),
        (["SERVFAIL"], Cause.NAME_SERVER_FAILED, Party.NETWORK),
        (["REFUSED", "silent"], Cause.NAME_SERVER_FAILED, Party.NETWORK),
        (["silent", "closed"], Cause.NAME_SERVER_FAILED, Party.NETWORK),
        (["NOERROR"], Cause.NAME_UNKNOWN, Party.HOST),
    ],
)
def test_name_servers_answers_decide(codes: list[str], cause: Cause, party: Party) -> None:
    answers = [Answered(f"192.0.2.{n}", code) for n, code in enumerate(codes)]
    seen = Evidence("dps.test", name_servers=answers)
    verdict = judge(NameNotResolved("no"), Hop.NAME, seen)
    assert (verdict.cause, verdict.party) == (cause, party)
    assert "192.0.2.0" in verdict.because


def test_a_public_service_is_not_blamed() -> None:
    error = Unreachable("refused", cause=Cause.REFUSED)
    assert judge(error, Hop.TCP, Evidence(PUBLIC)).party is Party.NETWORK
    assert judge(error, Hop.TCP, Evidence("dps.test")).party is Party.SERVER
    refused = ProxyRefused("503", cause=Cause.PROXY_CANNOT_REACH)
    assert judge(refused, Hop.PROXY, Evidence(PUBLIC, proxy="http://p:3128")).party is Party.PROXY


def test_where_it_cannot_be_known_both_parties_are_named_and_what_would_tell() -> None:
    error = Unreachable("refused", cause=Cause.REFUSED)
    seen = Evidence("dps.test")
    verdict = judge(error, Hop.TCP, seen)
    assert (verdict.party, verdict.also) == (Party.SERVER, Party.NETWORK)
    assert "hotspot" in telling(verdict)
    asked = requests_of(error, Hop.TCP, verdict, "wss://dps.test:443/p", seen)
    assert [each.party for each in asked] == [Party.SERVER, Party.NETWORK]
    assert [each.condition for each in asked] == ["it fails there alike", "it passes there"]
    assert all("dps.test:443" in each.text for each in asked)


def test_every_pair_of_parties_has_something_that_tells_them_apart() -> None:
    for (cause, hop), others in _OTHER.items():
        usual = usual_party(cause, hop)
        assert usual is not None
        for party, other in ((usual, each) for each in others if each is not usual):
            tells = what_tells(cause, party, other)
            assert tells is not _UNKNOWN_PAIR, (cause, hop, party, other)
            assert tells.speaks[party] != tells.speaks[other]


def test_every_sentence_can_be_made() -> None:
    seen = Evidence("dps.test")
    for party, cause, hop in SENTENCES:
        error = MqttwsError("x", cause=cause)
        verdict = Verdict(cause, party)
        (asked,) = requests_of(error, hop, verdict, "wss://dps.test:443/p", seen)
        assert asked.text
        assert "{" not in asked.text


def test_a_genuine_certificate_clears_the_network_of_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = UpgradeRefused(
        "451", status=451, cause=Cause.BLOCKED_BY_POLICY, party=Party.NETWORK, hop=Hop.UPGRADE
    )
    steps = (
        Step(Hop.TLS, "", 0.0, 0.1, certificates=(b"leaf", b"root")),
        Step(Hop.UPGRADE, "", 0.1, 0.2, error),
    )
    seen = Evidence("dps.test", steps)
    unknown = judge(error, Hop.UPGRADE, seen)
    assert (unknown.party, unknown.also) == (Party.NETWORK, Party.SERVER)
    monkeypatch.setattr("mqttws.doctor.evidence.default_roots", lambda: {b"root"})
    verdict = judge(error, Hop.UPGRADE, seen)
    assert (verdict.party, verdict.also) == (Party.SERVER, None)
    assert "genuine" in verdict.because
    (asked,) = requests_of(error, Hop.UPGRADE, verdict, "wss://dps.test:443/p", seen)
    assert "gateway of yours" in asked.text
    assert "replaced" not in asked.text


def test_a_text_for_the_team_holds_all_that_was_tried() -> None:
    error = ProxyRefused("proxy: CONNECT dps.test:443: HTTP 403", cause=Cause.PROXY_FORBIDS)
    seen = Evidence("dps.test", proxy="http://p:3128")
    verdict = judge(error, Hop.PROXY, seen)
    when = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
    others = (Alternative("without the proxy", False, "no", Way.WITHOUT_PROXY),)
    steps = (Step(Hop.PROXY, "CONNECT", 0.0, 0.1, error, {"server": "squid \x1b[31m"}),)
    report = Report(
        "wss://dps.test:443/path",
        ("proxy: http://p:3128",),
        steps,
        error,
        Hop.PROXY,
        party=verdict.party,
        requests=requests_of(error, Hop.PROXY, verdict, "wss://dps.test:443/p", seen),
        sighting=sighting(
            error,
            steps,
            others,
            where="dps.test:443",
            proxy=seen.proxy,
            when=when,
            origin="device-7",
        ),
        alternatives=others,
        when=when,
        origin="device-7",
    )
    text = letter(report)
    for part in (
        "2026-01-02 03:04 UTC from device-7",
        "the proxy's team",
        "HTTP 403",
        "server: squid",
        "without the proxy: fails",
        "allow this device CONNECT to dps.test:443 through http://p:3128",
        "to dps.test:443 through http://p:3128: proxy: CONNECT dps.test:443: HTTP 403",
        "without the proxy fails",
        "subprotocol mqtt",
    ):
        assert part in text
    assert "\x1b" not in text


def test_name_servers_are_read_from_resolv_conf(tmp_path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 192.0.2.1\noptions ndots:1\nnameserver ::1\nnameserver\n")
    assert name_servers(file) == ["192.0.2.1", "::1"]
    assert name_servers(tmp_path / "none") == []


@pytest.mark.parametrize(
    "date",
    ["", "x", "Mon, 01 Jan 2024 00:00:00 +99999999999999999", "Mon, 01 Jan 99999 00:00:00 GMT"],
)
def test_a_date_that_is_none_tells_nothing_of_the_clock(date: str) -> None:
    assert clock_skew([Step(Hop.UPGRADE, facts={"date": date})], 0.0) is None


def test_a_certificate_that_cannot_be_read_is_passed_over() -> None:
    assert describe_chain([b"no certificate"]) == {}
    assert expiry_warnings([Step(Hop.TLS, certificates=(b"no certificate",))], 0.0) == ()
