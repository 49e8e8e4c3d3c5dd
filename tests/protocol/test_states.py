"""Every packet in every state: what the tables do not name closes the connection."""

import pytest

from mqttws.errors import UnexpectedPacket
from mqttws.protocol import ClientProtocol, ConnectionClosed, Endpoint, ServerProtocol, State
from mqttws.wire import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)

from ..pair import connected_client, connected_server, events_of, said, say

PACKETS: list[Packet] = [
    Connect("c"),
    ConnAck(),
    Publish("t"),
    PubAck(1),
    PubRec(1),
    PubRel(1),
    PubComp(1),
    Subscribe(1, [Subscription("t")]),
    SubAck(1, [0]),
    Unsubscribe(1, ["t"]),
    UnsubAck(1),
    PingReq(),
    PingResp(),
    Disconnect(),
]

FROM_A_CLIENT = {Connect, Publish, PubAck, PubRec, PubRel, PubComp, Subscribe, Unsubscribe, PingReq,
                 Disconnect}  # fmt: skip
FROM_A_SERVER = {ConnAck, Publish, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, PingResp}


def client_in(state: State) -> ClientProtocol:
    if state is State.CONNECTED:
        return connected_client()
    client = ClientProtocol(Connect("c"))
    if state is State.CONNECTING:
        client.connect(0.0)
        said(client)
    return client


def server_in(state: State) -> ServerProtocol:
    return connected_server() if state is State.CONNECTED else ServerProtocol(0.0)


ENDS = [
    *((client_in, state) for state in (State.NEW, State.CONNECTING, State.CONNECTED)),
    *((server_in, state) for state in (State.NEW, State.CONNECTED)),
]
UNEXPECTED = [
    pytest.param(make, state, packet, id=f"{make.__name__}_{state.value}-{type(packet).__name__}")
    for make, state in ENDS
    for packet in PACKETS
    if type(packet) not in make(state).TABLE[state]
]


@pytest.mark.rule("MQTT-4.8.0-1", "MQTT-3.1.0-1", "MQTT-3.1.0-2", "MQTT-3.2.0-1")
@pytest.mark.parametrize(("make", "state", "packet"), UNEXPECTED)
def test_what_the_table_does_not_name_closes_the_connection(make, state: State, packet: Packet):
    end: Endpoint = make(state)
    say(end, packet)
    assert end.state is State.CLOSED
    (closed,) = events_of(end)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, UnexpectedPacket)
    assert type(packet).__name__ in str(closed.error)
    assert closed.error.rule
    assert said(end) == []


def test_the_tables_name_what_the_standard_lets_each_side_send():
    client, server = ClientProtocol.TABLE, ServerProtocol.TABLE
    assert client[State.NEW].keys() == set()
    assert client[State.CONNECTING].keys() == {ConnAck}
    assert client[State.CONNECTED].keys() == FROM_A_SERVER - {ConnAck}
    assert server[State.NEW].keys() == {Connect}
    assert server[State.CONNECTED].keys() == FROM_A_CLIENT - {Connect}


@pytest.mark.rule("MQTT-3.1.4-5")
@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_a_server_reads_nothing_until_it_has_judged_connect(packet: Packet):
    server = ServerProtocol(0.0)
    say(server, Connect("c"))
    events_of(server)
    say(server, packet)
    assert server.state is State.CONNECTING
    assert events_of(server) == []
    assert said(server) == []
