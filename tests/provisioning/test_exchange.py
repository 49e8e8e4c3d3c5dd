"""The exchange with DPS: each of its decisions, with connections that need no network."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from mqttws import SymmetricKey, TlsConfig, X509Certificate
from mqttws.dps.registration import Registration
from mqttws.dps.topics import RESPONSE_FILTER, Message, Response
from mqttws.errors import (
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    HopTimedOut,
    MalformedAnswer,
    MqttwsError,
    RegistrationRejected,
    RequestTimedOut,
    TlsFailed,
)
from mqttws.hops import Cause, Hop
from mqttws.net.hops import Step, Walk
from mqttws.net.proxy import ENVIRONMENT
from mqttws.net.target import Target
from mqttws.provisioning import exchange, plan
from mqttws.provisioning.exchange import Exchange
from mqttws.provisioning.plan import Plan
from mqttws.retry import Pauses
from mqttws.wire import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)

from .memory_stream import MemoryStream
from .scripted_dps import ASSIGNED, KEY
from .test_hints import device_certificate

HOST = "dps.example"
CREDENTIAL = SymmetricKey("dev", KEY)
LOST = ConnectionLost("reset")
ANOTHER_CLIENT = "another client with this registration id may be connected"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, nothing_known: None) -> None:
    """Have nothing known of any host, and no pause between connections."""
    monkeypatch.setattr(exchange, "LOST", Pauses(0.0, 0.0))


# A service without a network

Answer = Packet | MqttwsError
"""Words of the service, or the end of the connection."""


def answer(status: int, body: object, request: Publish, query: str = "") -> Publish:
    request_id = request.topic.partition("$rid=")[2].partition("&")[0]
    topic = f"$dps/registrations/res/{status}/?$rid={request_id}{query}"
    return Publish(topic, json.dumps(body).encode())


def good(packet: Packet) -> list[Answer]:
    """Answer as DPS does, which assigns the device at once."""
    match packet:
        case Connect():
            return [ConnAck()]
        case Subscribe(packet_id):
            return [SubAck(packet_id, [1])]
        case Publish():
            return [PubAck(packet.packet_id or 0), answer(200, ASSIGNED, packet)]
    return []


def lost_at(kind: type[Packet], error: MqttwsError = LOST) -> "Script":
    """Answer well until a packet of this kind comes."""
    return lambda packet: [error] if isinstance(packet, kind) else good(packet)


def assigning(packet: Packet) -> list[Answer]:
    """Take the request, and then end the connection."""
    if not isinstance(packet, Publish):
        return good(packet)
    body = {"operationId": "op", "status": "assigning"}
    return [PubAck(packet.packet_id or 0), answer(202, body, packet, "&retry-after=0"), LOST]


Script = Callable[[Packet], Sequence[Answer]]


class Connection(MemoryStream):
    """A connection to the service.

    Attributes:
        packets: those that came.
        flights: the kinds of packets that came in one piece each.
    """

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.packets: list[Packet] = []
        self.flights: list[list[type]] = []
        self._script = script

    def write(self, data: bytes) -> None:
        super().write(data)
        came = self.said()
        self.packets += came
        self.flights.append([type(packet) for packet in came])
        for packet in came:
            asyncio.get_running_loop().call_soon(self._react, packet)

    def _react(self, packet: Packet) -> None:
        for each in self._script(packet):
            assert self.receiver is not None
            if isinstance(each, MqttwsError):
                self.receiver.stream_ended(each)
            else:
                self.say(each)


class Service:
    """Connections that go as scripts say, the last one again and again.

    Attributes:
        targets: where each connection was to go, by scheme, what is preferred first.
        options: the other arguments of each.
        connections: those that came about.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *scripts: Script | MqttwsError) -> None:
        self.targets: list[list[str]] = []
        self.options: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.connections: list[Connection] = []
        self._scripts = list(scripts)
        monkeypatch.setattr(exchange, "dial_first", self._dial)

    async def _dial(
        self, targets: Sequence[Target], walk: Walk, **options: Any
    ) -> tuple[Target, Connection]:
        self.targets.append([target.scheme for target in targets])
        self.options.append(options)
        self.times.append(asyncio.get_running_loop().time())
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        if isinstance(script, MqttwsError):
            raise script
        connection = Connection(script)
        self.connections.append(connection)
        return targets[0], connection


def made(
    *,
    credential: SymmetricKey | X509Certificate = CREDENTIAL,
    timeout: float = 20.0,
    **options: Any,
) -> Exchange:
    registration = Registration("dev", request_ids=map(str, count(1)))
    walk = Walk(timeout=timeout, hop_timeout=10.0)
    return Exchange(Plan("0ne00", credential, host=HOST, **options), registration, walk)


def finally_fails(cause: Cause = Cause.WRONG_KEY) -> ConnectFailed:
    """Return a failure that is worth no other connection."""
    return ConnectFailed("no", hop=Hop.PROXY, cause=cause, retryable=False, hint="see here")


# One connection


async def test_a_registration_takes_one_connection_and_leaves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, one = Service(monkeypatch, good), made()
    assignment = await one.run()
    assert (assignment.assigned_hub, assignment.device_id) == ("a-hub.azure-devices.net", "dev")
    (connection,) = service.connections
    assert [type(packet) for packet in connection.packets] == [
        Connect,
        Subscribe,
        Publish,
        Disconnect,
    ]
    assert connection.ended == ["finish", "abort"]
    assert [(step.hop, step.detail) for step in one._walk.steps] == [
        (Hop.CONNECT, "CONNACK 0, accepted"),
        (Hop.SUBSCRIBE, f"SUBACK, QoS 1 for {RESPONSE_FILTER}"),
        (Hop.REGISTER, "200 assigned"),
    ]
    assert service.options == [{"tls": None, "proxy": ENVIRONMENT, "max_message_size": 2**20}]
    assert plan._uncapped == {HOST}
    assert plan._in_turn == set()
    assert plan._worked == {}


async def test_a_connection_for_which_there_is_no_password_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(monkeypatch, good)

    def fail(*_: object) -> str:
        raise RuntimeError("no key today")

    monkeypatch.setattr(SymmetricKey, "password", fail)
    with pytest.raises(RuntimeError, match="no key today"):
        await made().run()
    assert service.connections[0].ended == ["abort"]


async def test_the_number_of_connections_is_in_the_last_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(monkeypatch, lost_at(Subscribe), finally_fails())
    with pytest.raises(ConnectFailed) as caught:
        await made().run()
    assert caught.value.hint == "see here (2 connections were tried)"
    assert len(service.targets) == 2
    Service(monkeypatch, finally_fails())
    with pytest.raises(ConnectFailed) as caught:
        await made().run()
    assert caught.value.hint == "see here"


async def test_a_pause_lies_between_two_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LOST", Pauses(0.05, 0.05))
    service = Service(monkeypatch, lost_at(Subscribe), good)
    await made().run()
    first, second = service.times
    assert second - first >= 0.024


@pytest.mark.parametrize("pipelined", ["subscribe", "register", None])
async def test_after_a_failure_nothing_is_sent_before_connack(
    monkeypatch: pytest.MonkeyPatch, pipelined: Any
) -> None:
    service = Service(monkeypatch, lost_at(Connect), lost_at(Subscribe), good)
    await made(pipelined=pipelined).run()
    flights = [connection.flights[0] for connection in service.connections]
    early = {"subscribe": [Subscribe], "register": [Subscribe, Publish], None: []}[pipelined]
    assert flights == [[Connect, *early], [Connect], [Connect]]
    known = {(HOST, 443)} if pipelined else set()
    assert plan._in_turn == known, "where it came to CONNACK in turn alone"
    assert made(pipelined=pipelined)._plan.pipelined_at(Target("wss", HOST, 443)) is (
        None if known else pipelined
    )


async def test_a_connection_that_answered_a_request_may_be_pipelined_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(monkeypatch, assigning, good)
    await made(pipelined="subscribe").run()
    assert [connection.flights[0] for connection in service.connections] == [
        [Connect, Subscribe],
        [Connect, Subscribe],
    ]
    assert plan._in_turn == set()


async def test_auto_prefers_the_way_on_which_connack_came(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, lost_at(Connect), lost_at(Subscribe), good)
    one = made(transport="auto")
    await one.run()
    assert service.targets == [["mqtts", "wss"], ["wss", "mqtts"], ["wss", "mqtts"]]
    assert one._walk.failures == {MemoryStream.address: 1}, "the one without CONNACK"
    assert plan._worked == {HOST: "wss"}
    assert [target.scheme for target in made(transport="auto")._targets] == ["wss", "mqtts"]


async def test_a_connection_that_was_not_accepted_counts_after_one_that_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Service(monkeypatch, lost_at(Subscribe), lost_at(Connect), good)
    one = made(transport="auto")
    await one.run()
    assert one._walk.failures == {MemoryStream.address: 1}


def test_the_way_that_was_accepted_is_the_first_of_the_next_connection() -> None:
    one = made(transport="auto")
    mqtts, wss = one._targets
    one._accept(wss)
    assert one._targets == [wss, mqtts]


def test_connack_is_awaited_for_ten_seconds_while_there_is_another_way() -> None:
    one = made(transport="auto", timeout=60.0)
    mqtts, wss = one._targets
    assert one._patience(mqtts) == 10.0
    one._tried.add("wss")
    assert one._patience(mqtts) == pytest.approx(60.0, abs=1.0)
    assert one._patience(wss) == 10.0
    one._tried.add("mqtts")
    assert one._patience(wss) == pytest.approx(60.0, abs=1.0)
    short = made(transport="auto", timeout=3.0)
    assert short._patience(short._targets[0]) == pytest.approx(3.0, abs=1.0)
    short._walk.timeout = 0.0
    assert short._patience(short._targets[0]) == 0.001


def test_a_request_goes_out_before_connack_where_its_turn_has_come() -> None:
    one = made()
    assert one._early_request(None) is None
    assert one._early_request("subscribe") is None
    early = one._early_request("register")
    assert early is not None
    assert "PUT" in early.topic
    one._registration.retry_after = 0.0
    assert one._early_request("register") is None


# Asking again


class Messages:
    """A conversation that has these messages, and then nothing for as long as it is waited for."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.waits: list[float | None] = []

    async def next_message(self, timeout: float | None = None) -> Message | None:
        self.waits.append(timeout)
        return self.messages.pop(0) if self.messages else None


def at(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    """Have the exchange's clock show these times, and the last one from then on."""
    left = list(times)
    clock = SimpleNamespace(monotonic=lambda: left.pop(0) if len(left) > 1 else left[0])
    monkeypatch.setattr(exchange, "time", clock)


def remaining(one: Exchange, seconds: float, *, reached: bool = True) -> None:
    one._walk = SimpleNamespace(  # type: ignore[assignment]
        remaining=seconds, timeout=20.0, reached=reached, failures=Counter()
    )


async def test_the_turn_that_the_service_has_named_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = made()
    registration = one._registration
    remaining(one, 100.0)
    at(monkeypatch, 50.0)
    asked = await one._next_request(Messages())  # type: ignore[arg-type]
    assert registration.deadline == 50.0 + 30.0
    assert "PUT" in asked.topic
    registration.retry_after, registration.deadline, registration.earliest = 3.0, 53.0, 53.0
    late = Messages(Message("$dps/registrations/res/200/?$rid=99", b"{}"))
    at(monkeypatch, 50.0, 50.0, 50.0, 51.0, 51.0, 53.0)
    assert "PUT" in (await one._next_request(late)).topic  # type: ignore[arg-type]
    assert late.waits == [3.0, 2.0]
    assert registration.unmatched == 1, "a late answer is counted"
    registration.retry_after, registration.deadline, registration.earliest = 3.0, 53.0, 53.0
    short = Messages()
    at(monkeypatch, 52.5, 52.5, 52.5, 53.0)
    await one._next_request(short)  # type: ignore[arg-type]
    assert short.waits == [0.5]


async def test_there_is_no_other_request_where_time_is_over_before_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = made()
    registration = one._registration
    registration.retry_after, registration.deadline, registration.earliest = 3.0, 53.0, 53.0
    remaining(one, 2.0)
    at(monkeypatch, 50.0)
    with pytest.raises(RequestTimedOut, match="not done within 20 s") as caught:
        await one._next_request(Messages())  # type: ignore[arg-type]
    assert caught.value.hint == "DPS has not said when to ask again: give it more time"
    assert (caught.value.hop, caught.value.cause) == (Hop.REGISTER, Cause.OUT_OF_TIME)
    registration.last_response = Response(202, "1", 3)
    registration.operation_id = "op"
    error = one._out_of_time()
    assert error.hint == "DPS wants to be asked again in 3 s: come back then, or give it more time"
    assert (error.hop, str(error)) == (Hop.POLL, str(caught.value))
    registration.earliest = 53.26
    assert "again in 3.3 s" in one._out_of_time().hint
    registration.earliest = 40.0
    assert "again in 0 s" in one._out_of_time().hint
    registration.earliest = None
    assert "again in 0 s" in one._out_of_time().hint


@pytest.mark.parametrize(
    ("deadline", "earliest", "left", "wait"),
    [
        (53.0, 53.0, 100.0, 3.0),
        (53.0, 52.0, 100.0, 3.0),
        (49.0, 49.0, 100.0, 0.0),
        (None, None, 100.0, 0.0),
        (70.0, 52.0, 10.25, 6.0),  # grown by us: shortened
        (70.0, None, 10.25, 5.0),
        (70.0, 70.0, 10.0, None),
    ],
)
def test_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
    deadline: float | None,
    earliest: float | None,
    left: float,
    wait: float | None,
) -> None:
    one = made()
    one._registration.deadline, one._registration.earliest = deadline, earliest
    remaining(one, left)
    at(monkeypatch, 50.0)
    assert one._until_turn() == wait


def test_a_step_says_what_was_answered_and_when_to_ask_again() -> None:
    registration = Registration("dev", request_ids=iter("1"))

    def told(
        response: Response | None, status: str, wait: float | None
    ) -> tuple[int, float | None, str]:
        registration.last_response, registration.status = response, status
        registration.retry_after = wait
        step = Step(Hop.POLL)
        exchange._describe(step, registration)
        return step.status, step.retry_after, step.detail

    assert told(Response(202, "1", 3), "assigning", 3.5) == (
        202, 3.5, "202 assigning, ask again in 3.5 s"
    )  # fmt: skip
    assert told(Response(202, "1", None), "assigning", 2.0) == (
        202, None, "202 assigning, no wait named: asked again in 2 s"
    )  # fmt: skip
    assert told(Response(503, "1", None), "assigning", None) == (503, None, "503")
    assert told(Response(300, "1", None), "assigning", None) == (300, None, "300")
    assert told(Response(200, "1", None), "assigned", None) == (200, None, "200 assigned")
    assert told(Response(199, "1", None), "assigned", None) == (199, None, "199")
    assert told(None, "", None) == (0, None, "0")


# Between two connections


def cut_hello() -> TlsFailed:
    return TlsFailed("cut", hop=Hop.TLS, cause=Cause.CUT_OFF)


@pytest.mark.parametrize(
    "error", [cut_hello(), HopTimedOut("silent", hop=Hop.TLS, cause=Cause.SILENT)], ids=str
)
def test_a_hello_that_is_not_answered_is_followed_by_one_of_tls_1_2_and_back(
    error: MqttwsError,
) -> None:
    one = made()
    asked = one._plan
    one._change_tls(error)
    capped = one._plan
    assert isinstance(capped.tls, TlsConfig)
    assert capped.tls.maximum_version is ssl.TLSVersion.TLSv1_2
    one._change_tls(error)
    assert one._plan is asked
    one._change_tls(error)
    assert one._plan is not asked


def test_where_a_hello_was_answered_before_it_takes_two_in_a_row() -> None:
    made()._plan.note_uncapped()
    one = made()
    asked = one._plan
    for error in (
        cut_hello(),
        ConnectFailed("no", hop=Hop.TLS, cause=Cause.TLS_ALERT),
        cut_hello(),
        ConnectFailed("no", hop=Hop.TCP, cause=Cause.CUT_OFF),
        cut_hello(),
    ):
        one._change_tls(error)
        assert one._plan is asked
    one._change_tls(cut_hello())
    assert one._plan is not asked


async def test_the_next_connection_has_the_changed_tls_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(monkeypatch, cut_hello(), good)
    with caplog.at_level("INFO", "mqttws.provisioning"):
        await made().run()
    first, second = (options["tls"] for options in service.options)
    assert first is None
    assert second.maximum_version is ssl.TLSVersion.TLSv1_2
    assert caplog.messages == [
        "TLS 1.2 at most: a hello of TLS 1.3 was cut off or not answered before"
    ]
    assert plan._uncapped == set(), "the host has not answered an open hello"


REFUSED = ConnectRefused("no", return_code=3, retryable=True)
DOUBTFUL = ConnectFailed("no", hop=Hop.TLS, cause=Cause.NOT_TLS, retryable=True)
UNKNOWN_NAME = ConnectFailed("no", hop=Hop.NAME, cause=Cause.NAME_UNKNOWN, retryable=True)
PASSING = ConnectFailed("no", hop=Hop.TCP, cause=Cause.SILENT, retryable=True)


def test_a_failure_that_can_pass_is_worth_another_connection() -> None:
    one = made()
    assert one._is_worth_another(PASSING) is True
    assert one._is_worth_another(finally_fails()) is False
    one._registration.error = LOST
    assert not one._is_worth_another(PASSING), "the registration has ended"


@pytest.mark.parametrize("error", [REFUSED, DOUBTFUL], ids=repr)
def test_what_may_be_final_is_tried_three_times(error: MqttwsError) -> None:
    one = made()
    assert [one._is_worth_another(error) for _ in range(3)] == [True, True, False]
    waiting = made(wait_for_network=True)
    assert all(waiting._is_worth_another(error) for _ in range(5))
    answered = made()
    answered._registration.last_response = Response(202, "1", None)
    assert all(answered._is_worth_another(error) for _ in range(5))


def test_a_missing_network_is_waited_for_where_that_was_chosen_or_one_was_there() -> None:
    one = made()
    remaining(one, 10.0, reached=False)
    assert not one._is_worth_another(UNKNOWN_NAME)
    remaining(one, 10.0, reached=True)
    assert one._is_worth_another(UNKNOWN_NAME)
    waiting = made(wait_for_network=True)
    remaining(waiting, 10.0, reached=False)
    assert waiting._is_worth_another(UNKNOWN_NAME)


def test_the_pauses_grow_and_respect_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LOST", Pauses(1.0, 30.0))
    monkeypatch.setattr("random.random", lambda: 0.0)
    one = made()
    remaining(one, 1000.0)
    at(monkeypatch, 50.0)
    assert [one._wait_after(LOST), *(one._wait_after(PASSING) for _ in range(3))] == [
        0.5,
        1.0,
        2.0,
        4.0,
    ]
    later = ConnectFailed("no", hop=Hop.UPGRADE, cause=Cause.SILENT, retryable=True)
    later.retry_after = 60.0
    assert one._wait_after(later) == 60.0
    remaining(one, 60.0)
    assert one._wait_after(later) is None, "a wait that the peer wants is not shortened"
    assert one._wait_after(finally_fails()) is None
    remaining(one, 1000.0)
    one._accepted_at = 39.0
    assert one._wait_after(PASSING) == 0.5, "after a connection that held"
    brief = made(persistent=False)
    remaining(brief, 1000.0)
    assert brief._wait_after(PASSING) is None


def test_the_turn_of_an_operation_is_not_anticipated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LOST", Pauses(8.0, 30.0))
    monkeypatch.setattr("random.random", lambda: 0.0)
    one = made()
    remaining(one, 1000.0)
    at(monkeypatch, 50.0)
    registration = one._registration
    registration.last_response = Response(202, "1", 3)
    registration.retry_after, registration.deadline, registration.earliest = 3.0, 53.0, 53.0
    assert one._wait_after(LOST) == 4.0
    registration.deadline = registration.earliest = 70.0
    assert one._wait_after(LOST) == 20.0
    remaining(one, 10.0)
    assert one._wait_after(LOST) is None


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        ([None] * 3, False),
        ([None] * 4, True),
        ([1000, 1000], True),
        ([1000], False),
        ([1000, None], False),
        ([1000, None, None], True),
        ([1001, 1011, 1012, 1013, 1014] * 3, False),
    ],
)
def test_connections_that_are_accepted_and_closed_again_and_again_name_another_client(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    codes: list[int | None],
    named: bool,
) -> None:
    one = made()
    at(monkeypatch, 50.0)
    one._accepted_at = 49.0
    for code in codes:
        lost = ConnectionLost("closed")
        lost.close_code = code
        one._note_loss(lost)
    assert (ANOTHER_CLIENT in caplog.text) is named
    assert one._named is named
    for _ in range(4):
        one._note_loss(LOST)
    assert caplog.text.count(ANOTHER_CLIENT) == 1, "once"
    assert "dev: accepted and closed again and again" in caplog.text


def test_a_connection_that_held_or_was_not_accepted_begins_the_count_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = made()
    at(monkeypatch, 50.0)
    one._failures, one._evictions = 5, 3
    one._accepted_at = 40.5
    one._note_loss(PASSING)
    assert (one._failures, one._evictions) == (5, 3)
    one._accepted_at = 40.0
    one._note_loss(LOST)
    assert (one._failures, one._evictions) == (0, 3)
    one._accepted_at = None
    one._note_loss(LOST)
    assert one._evictions == 0


# The last error


def explained(one: Exchange, error: MqttwsError) -> str:
    one._explain(error)
    return error.hint


@pytest.fixture(scope="module")
def certificate() -> X509Certificate:
    return device_certificate()[0]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (2, "the registration id is not one that DPS accepts"),
        (3, "wrong id scope"),
        (4, "check the device's key"),
        (5, "check registration id and key"),
        (1, "the hint"),
    ],
)
def test_a_refusal_says_what_its_code_means_at_dps(code: int, told: str) -> None:
    error = ConnectRefused("no", return_code=code, retryable=False, hint="the hint")
    assert explained(made(), error).startswith(told)
    assert (error.cause is Cause.SCOPE_UNKNOWN, error.retryable) == (code == 3, code == 3)


def test_a_connection_that_ends_after_a_certificate_was_shown_names_the_certificate(
    certificate: X509Certificate,
) -> None:
    for credential, cause in (
        (certificate, Cause.CLIENT_CERTIFICATE_REFUSED),
        (CREDENTIAL, Cause.CUT_OFF),
    ):
        error = ConnectFailed("cut", hop=Hop.CONNECT, cause=Cause.CUT_OFF, hint="the hint")
        told = explained(made(credential=credential), error)
        assert error.cause is cause
        assert ("extended key usage" in told) is (credential is certificate)
        assert ("the hint" in told) is (credential is CREDENTIAL)
    silent = HopTimedOut("silent", hop=Hop.CONNECT, cause=Cause.SILENT, hint="the hint")
    assert explained(made(credential=certificate), silent) == "the hint"


def test_a_certificate_that_was_not_seen_needs_no_other_key(certificate: X509Certificate) -> None:
    def wrong() -> RegistrationRejected:
        return RegistrationRejected("no", cause=Cause.WRONG_KEY, hint="check the key")

    unseen = explained(made(credential=certificate), wrong())
    assert unseen.startswith("the service did not accept, or did not get, this device's")
    assert "; a proxy that re-signs TLS" in unseen
    assert explained(made(), wrong()) == "check the key"


def test_a_certificate_that_is_refused_at_register_may_have_met_a_proxy() -> None:
    for hop, more in ((Hop.REGISTER, True), (Hop.TLS, False)):
        refused = MqttwsError(
            "no", hop=hop, cause=Cause.CLIENT_CERTIFICATE_REFUSED, hint="the hint"
        )
        told = explained(made(), refused)
        assert told.startswith("the hint")
        assert ("re-signs TLS" in told) is more


def test_an_answer_that_is_too_large_does_not_come_from_dps() -> None:
    error = MalformedAnswer("large", cause=Cause.PACKET_TOO_LARGE, hint="raise max_packet_size")
    assert explained(made(), error) == (
        "an answer of DPS has at most 96 KiB: check that the host is a DPS endpoint"
    )


def test_another_client_is_named_after_two_evictions_or_a_conflict() -> None:
    one = made()
    one._evictions = 1
    assert explained(one, lost_with_hint()) == "the hint"
    one._evictions = 2
    assert explained(one, lost_with_hint()).startswith(f"the hint; {ANOTHER_CLIENT}")
    for status in ("409", "412"):
        one = made()
        one._registration.answers[status] += 1
        assert ANOTHER_CLIENT in explained(one, lost_with_hint())


def lost_with_hint() -> ConnectionLost:
    return ConnectionLost("lost", hint="the hint")


def test_what_was_asked_and_answered_is_in_the_hint_once() -> None:
    one = made()
    one._registration.asked["register"] += 1
    asked = "asked: register once; answered: nothing"
    assert explained(one, lost_with_hint()) == f"the hint ({asked})"
    one._connections = 3
    told = f"the hint (3 connections were tried; {asked})"
    assert explained(one, lost_with_hint()) == told
    late = RequestTimedOut(f"late ({asked})")
    late.hint = ""
    assert explained(one, late) == "3 connections were tried"
    assert explained(one, RegistrationRejected("no", hint="the hint")) == "the hint"


# The end of the time


SILENCE = HopTimedOut(hop=Hop.CONNECT)


@pytest.mark.parametrize(
    ("met", "cut_off", "told"),
    [
        ([LOST, PASSING, SILENCE], True, 1),
        ([LOST, PASSING, SILENCE], False, 2),
        ([SILENCE], True, 0),
    ],
)
async def test_what_the_attempt_before_one_without_time_met_is_told(
    monkeypatch: pytest.MonkeyPatch, met: list[MqttwsError], cut_off: bool, told: int
) -> None:
    met = [type(error)("x", hop=error.hop) for error in met]
    met[told].__cause__ = cause = OSError("reset")
    one, left, asked = made(), list(met), []

    async def attempt() -> None:
        one._connections += 1
        raise left.pop(0)

    def was_cut_off(*errors: MqttwsError) -> bool:
        asked.append(errors)
        return cut_off

    monkeypatch.setattr(one, "_attempt", attempt)
    monkeypatch.setattr(one, "_wait_after", lambda error: 0.0 if left else None)
    monkeypatch.setattr(one, "_was_cut_off", was_cut_off)
    with pytest.raises(MqttwsError) as caught:
        await one.run()
    assert caught.value is met[told]
    assert caught.value.__cause__ is cause
    assert asked == ([(met[2], met[1])] if len(met) > 1 else [])
    over = "3 connections were tried, the time was over at connect of the last"
    assert (over in caught.value.hint) is (told == 1)
    assert ("3 connections were tried" in caught.value.hint) is (len(met) > 1)


@pytest.mark.parametrize(
    ("timeout", "steps", "cut"),
    [
        (0.001, [Step(Hop.CONNECT, started=5.0, ended=6.0, error=SILENCE)], True),
        (0.001, [Step(Hop.CONNECT, started=5.0, ended=8.0, error=SILENCE)], False),
        (0.001, [Step(Hop.CONNECT, started=5.0, error=SILENCE)], False),
        (0.001, [Step(Hop.CONNECT, started=5.0, ended=6.0, error=LOST)], False),
        (0.001, [], False),
        (20.0, [Step(Hop.CONNECT, started=5.0, ended=6.0, error=SILENCE)], False),
    ],
)
def test_an_attempt_is_cut_off_by_the_end_of_all_time_alone(
    timeout: float, steps: list[Step], cut: bool
) -> None:
    one = made(timeout=timeout)
    one._walk.steps += steps
    assert one._was_cut_off(SILENCE, ConnectionLost(hop=Hop.POLL)) is cut
