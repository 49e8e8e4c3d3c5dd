"""The connection cut after every single byte, both ways: what QoS 0, 1 and 2 promise still holds.

Each conversation subscribes, then sends messages of every QoS in both directions at once. A
program that has not seen its wish answered asks again; a message that was given to an end is never
given to it again: what the end owes is in its session.
"""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqttws.protocol import Event, MessageReceived, PublishCompleted, SubscribeCompleted
from mqttws.wire import Connect, Subscription

from ..pair import Pair

MESSAGES = [(b"%d-%d" % (qos, number), qos) for number in range(2) for qos in (0, 1, 2)]


class Conversation:
    """What both programs want to say; it goes on over as many connections as it takes.

    Args:
        at_once: whether all messages are given to the ends before the first byte moves.
        cuts: see ``Pair``.
    """

    def __init__(self, *, at_once: bool, cuts: list[int] | None = None) -> None:
        self.at_once = at_once
        self.pair = Pair(Connect("c", clean_session=False, keep_alive=0), cuts=cuts)
        self.to_send = list(MESSAGES)

    def go_on(self) -> bool:
        """Talk until all is said (True) or the connection is cut (False)."""
        pair = self.pair
        if not pair.exchange():
            return False
        if not any(isinstance(event, SubscribeCompleted) for event in pair.client_events):
            pair.client.subscribe([Subscription("down", 2)])
            if not pair.exchange():
                return False
        while self.to_send:
            batch = len(self.to_send) if self.at_once else 1
            for payload, qos in self.to_send[:batch]:
                pair.client.publish("up", payload, qos)
                assert pair.server.publish("down", payload, qos)
            del self.to_send[:batch]
            if not pair.exchange():
                return False
        return True

    def check(self) -> None:
        """See that every message has had the fate that its QoS promises, both ways."""
        pair = self.pair
        for sent_by, received_by in (
            (pair.client_events, pair.server_events),
            (pair.server_events, pair.client_events),
        ):
            received = _payloads(received_by)
            for payload, qos in MESSAGES:
                count = received.count(payload)
                if qos == 0:
                    assert count <= 1, payload
                elif qos == 1:
                    assert count >= 1, payload
                else:
                    assert count == 1, payload
            for qos in (0, 1, 2):
                # First arrivals come in the order of sending [MQTT-4.6.0-6].
                wanted = [payload for payload, its_qos in MESSAGES if its_qos == qos]
                arrived = [one for one in dict.fromkeys(received) if one in wanted]
                assert arrived == [one for one in wanted if one in arrived]
            completed = sum(isinstance(event, PublishCompleted) for event in sent_by)
            assert completed == sum(qos > 0 for _, qos in MESSAGES)
        for session in (pair.client.session, pair.server.session):
            assert not session.outgoing
            assert not session.received


def _payloads(events: list[Event]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, MessageReceived)]


@cache
def lengths(at_once: bool) -> tuple[int, int]:
    """Return how many bytes a conversation without a cut takes, to the server and to the client."""
    talk = Conversation(at_once=at_once)
    assert talk.go_on()
    talk.check()
    assert _payloads(talk.pair.server_events) == [payload for payload, _ in MESSAGES]
    return talk.pair.to_server.carried, talk.pair.to_client.carried


def offsets(direction: int) -> list[tuple[bool, int]]:
    return [
        (at_once, offset)
        for at_once in (False, True)
        for offset in range(lengths(at_once)[direction])
    ]


delivery_rules = pytest.mark.rule(
    "MQTT-4.3.2-1",
    "MQTT-4.3.2-2",
    "MQTT-4.3.3-1",
    "MQTT-4.3.3-2",
    "MQTT-4.4.0-1",
    "MQTT-4.1.0-1",
    "MQTT-3.1.2-4",
    "MQTT-4.6.0-1",
    "MQTT-4.6.0-6",
)


@delivery_rules
def test_a_cut_after_any_byte_to_the_server_loses_and_doubles_nothing():
    for at_once, offset in offsets(0):
        talk = Conversation(at_once=at_once)
        talk.pair.reconnect(cut_to_server=offset)
        assert not talk.go_on(), offset
        talk.pair.reconnect()
        assert talk.go_on(), offset
        talk.check()


@delivery_rules
def test_a_cut_after_any_byte_to_the_client_loses_and_doubles_nothing():
    for at_once, offset in offsets(1):
        talk = Conversation(at_once=at_once)
        talk.pair.reconnect(cut_to_client=offset)
        assert not talk.go_on(), offset
        talk.pair.reconnect()
        assert talk.go_on(), offset
        talk.check()


@delivery_rules
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(
    at_once=st.booleans(),
    pieces=st.none() | st.lists(st.integers(1, 40), min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.booleans(), st.integers(0, 250)), min_size=2, max_size=8),
)
def test_any_row_of_cuts_loses_and_doubles_nothing(
    at_once: bool, pieces: list[int] | None, cuts: list[tuple[bool, int]]
):
    talk = Conversation(at_once=at_once, cuts=pieces)
    for to_server, offset in cuts:
        talk.pair.reconnect(
            cut_to_server=offset if to_server else None,
            cut_to_client=None if to_server else offset,
        )
        if talk.go_on():
            break
        # Whatever has moved: nothing is lost on the way to the next connection.
    talk.pair.reconnect()
    assert talk.go_on()
    talk.check()
