"""Both ends against each other: whole conversations, with pretend time."""

import pytest

from mqttws.errors import ConnectionLost, KeepAliveExpired
from mqttws.protocol import (
    Connected,
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    PublishCompleted,
    State,
    SubscribeCompleted,
    UnsubscribeCompleted,
    WillDue,
)
from mqttws.wire import Connect, PingReq, PingResp, Publish, Subscription, Will

from ..pair import Pair

PERSISTENT = Connect("c", clean_session=False)


def connected_pair(connect: Connect | None = None, *, cuts: list[int] | None = None) -> Pair:
    pair = Pair(connect, cuts=cuts)
    assert pair.exchange()
    assert pair.client.state is pair.server.state is State.CONNECTED
    return pair


def messages(events: list[Event]) -> list[tuple[bytes, int, bool]]:
    return [(one.payload, one.qos, one.dup) for one in events if isinstance(one, MessageReceived)]


def error_in(events: list[Event]) -> BaseException | None:
    closed = events[-1]
    assert isinstance(closed, ConnectionClosed)
    return closed.error


@pytest.mark.rule("MQTT-3.3.4-1", "MQTT-4.3.1-1", "MQTT-4.3.2-1", "MQTT-4.3.3-1", "MQTT-4.3.3-2")
@pytest.mark.parametrize("cuts", [None, [1], [3, 1, 4, 1, 5], [64]], ids=str)
def test_messages_of_every_qos_arrive_once_both_ways_in_any_cut(cuts: list[int] | None):
    pair = connected_pair(cuts=cuts)
    pair.client.subscribe([Subscription("down/#", 2)])
    pair.exchange()
    for qos in (0, 1, 2):
        pair.client.publish("up", b"up%d" % qos, qos)
        pair.server.publish("down/x", b"down%d" % qos, qos)
    assert pair.exchange()
    assert messages(pair.client_events) == [(b"down%d" % qos, qos, False) for qos in (0, 1, 2)]
    assert messages(pair.server_events) == [(b"up%d" % qos, qos, False) for qos in (0, 1, 2)]
    for end in (pair.client, pair.server):
        assert not end.session.outgoing
        assert not end.session.received
    assert sum(isinstance(event, PublishCompleted) for event in pair.client_events) == 2
    assert sum(isinstance(event, PublishCompleted) for event in pair.server_events) == 2


@pytest.mark.rule("MQTT-3.8.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-4")
def test_a_subscription_lasts_until_it_is_taken_back():
    pair = connected_pair()
    asked = pair.client.subscribe([Subscription("t", 1)])
    pair.exchange()
    assert pair.server.publish("t", b"1", 1)
    pair.exchange()
    taken_back = pair.client.unsubscribe(["t"])
    pair.exchange()
    assert not pair.server.publish("t", b"2", 1)
    pair.exchange()
    assert pair.client_events == [
        Connected(False),
        SubscribeCompleted(asked, [1]),
        MessageReceived("t", b"1", 1, False, False, 1),
        UnsubscribeCompleted(taken_back),
    ]


@pytest.mark.rule("MQTT-3.1.2-23", "MQTT-3.1.2-24", "MQTT-3.12.4-1", "MQTT-4.1.0-2")
def test_an_idle_connection_stays_alive():
    pair = connected_pair(Connect("c", keep_alive=10))
    pair.advance(1000.0)
    assert pair.client.state is pair.server.state is State.CONNECTED
    assert pair.client_said.count(PingReq()) == pair.server_said.count(PingResp()) == 133


@pytest.mark.rule("MQTT-3.1.2-24", "U-15")
def test_both_ends_notice_a_dead_link_each_in_its_time():
    pair = connected_pair(Connect("c", keep_alive=10, will=Will("gone")))
    pair.go_dead()
    pair.advance(12.4)
    assert pair.client.state is State.CONNECTED
    pair.advance(0.1)
    assert isinstance(error_in(pair.client_events), KeepAliveExpired)
    pair.advance(2.4)
    assert pair.server.state is State.CONNECTED
    pair.advance(0.1)
    assert WillDue(Will("gone")) in pair.server_events
    assert isinstance(error_in(pair.server_events), KeepAliveExpired)


@pytest.mark.rule("MQTT-3.14.4-1", "MQTT-3.14.4-3", "U-20")
def test_a_client_that_leaves_closes_both_ends_without_its_will():
    pair = connected_pair(Connect("c", will=Will("gone")))
    pair.client.disconnect()
    pair.exchange()
    assert error_in(pair.client_events) is None
    assert error_in(pair.server_events) is None
    assert WillDue(Will("gone")) not in pair.server_events


@pytest.mark.rule("MQTT-3.1.2-4", "MQTT-3.2.2-2", "MQTT-4.1.0-1", "MQTT-4.4.0-1")
def test_with_clean_session_0_both_ends_go_on_where_they_were():
    pair = connected_pair(PERSISTENT)
    pair.client.subscribe([Subscription("t", 2)])
    pair.exchange()
    pair.client.publish("t", b"up", 1)
    pair.server.publish("t", b"down", 2)
    pair.drop()
    assert isinstance(error_in(pair.client_events), ConnectionLost)
    assert isinstance(error_in(pair.server_events), ConnectionLost)
    pair.reconnect()
    pair.exchange()
    assert [one for one in pair.client_events if isinstance(one, Connected)] == [
        Connected(False),
        Connected(True),
    ]
    assert messages(pair.client_events) == [(b"down", 2, True)]
    assert messages(pair.server_events) == [(b"up", 1, True)]
    assert pair.server.publish("t", b"more")


@pytest.mark.rule("MQTT-3.1.2-6", "MQTT-3.2.2-1")
def test_with_clean_session_1_nothing_is_left_of_the_earlier_connection():
    pair = connected_pair(Connect("c", clean_session=True))
    pair.client.subscribe([Subscription("t", 2)])
    pair.exchange()
    pair.client.publish("t", b"up", 1)
    pair.server.publish("t", b"down", 2)
    pair.drop()
    pair.reconnect()
    pair.exchange()
    assert messages(pair.client_events) == messages(pair.server_events) == []
    assert not any(isinstance(packet, Publish) for packet in pair.client_said + pair.server_said)
    assert not pair.server.publish("t")


@pytest.mark.rule("U-13")
def test_a_client_need_not_wait_for_connack():
    pair = Pair()
    pair.to_server.data += pair.client.data_to_send(0.0) + Publish("t", b"early").encode()
    pair.exchange()
    assert messages(pair.server_events) == [(b"early", 0, False)]
    assert isinstance(pair.server_events[0], ConnectReceived)
