"""The bytes that leave at once: whole packets, up to a size; first what is sent again."""

import pytest

from mqttws.protocol import ClientProtocol, Session
from mqttws.wire import Connect, PubAck, Publish, encode

from ..pair import connected_client, packets_in, said, say

PERSISTENT = Connect("c", clean_session=False, keep_alive=100)
SIZE = len(encode(Publish("t", b"1", 1, packet_id=1)))


def pieces(client: ClientProtocol, at_most: int, now: float = 0.0) -> list[list[int | None]]:
    """Return the packet identifiers of each piece that leaves."""
    return [
        [packet.packet_id for packet in packets_in(piece) if isinstance(packet, Publish)]
        for piece in iter(lambda: client.data_to_send(now, at_most), b"")
    ]


def new(count: int) -> ClientProtocol:
    client = connected_client(PERSISTENT)
    for _ in range(count):
        client.publish("t", b"1", 1)
    return client


def again(count: int, session: Session | None = None, **options: int) -> ClientProtocol:
    """Return a client that has to send so many messages again."""
    session = session or Session()
    first = connected_client(PERSISTENT, session=session)
    for _ in range(count):
        first.publish("t", b"1", 1)
    return connected_client(PERSISTENT, session=session, session_present=True, **options)


@pytest.mark.parametrize("make", [new, again])
@pytest.mark.parametrize(
    ("count", "at_most", "expected"),
    [
        (2, 2 * SIZE, [[1, 2]]),
        (2, 2 * SIZE - 1, [[1], [2]]),
        (3, 2 * SIZE, [[1, 2], [3]]),
        (3, 2 * SIZE - 1, [[1], [2], [3]]),
        (2, 1, [[1], [2]]),
        (1, 1, [[1]]),
    ],
)
def test_a_piece_has_as_many_whole_packets_as_fit_and_one_at_least(
    make, count: int, at_most: int, expected: list[list[int]]
) -> None:
    assert pieces(make(count), at_most) == expected


def test_what_is_new_goes_out_after_the_last_piece_of_what_is_sent_again() -> None:
    client = again(1)
    client.publish("t", b"1", 1)
    assert pieces(client, SIZE) == [[1], [2]]
    client = again(1)
    client.publish("t", b"1", 1)
    assert [packet.packet_id for packet in said(client)] == [1, 2]  # type: ignore[union-attr]


def test_what_was_answered_before_its_turn_to_be_sent_again_is_not_sent() -> None:
    client = again(3, resend=False)
    client.resend_rest(1)
    assert pieces(client, SIZE) == [[1]]
    client.resend_rest()
    say(client, PubAck(2))  # on this connection, to what an earlier one had sent
    assert pieces(client, 10 * SIZE) == [[3]]


@pytest.mark.parametrize("at_most", [None, SIZE])
def test_where_nothing_is_left_to_send_again_what_is_new_goes_out_at_once(
    at_most: int | None,
) -> None:
    client = again(2)
    say(client, PubAck(1), PubAck(2))
    client.publish("t", b"new")
    assert packets_in(client.data_to_send(0.0, at_most)) == [Publish("t", b"new")]
    assert not client.has_data


@pytest.mark.rule("MQTT-3.1.2-23")
def test_what_is_sent_again_counts_for_the_keep_alive_and_what_was_answered_does_not() -> None:
    client = again(1)
    assert pieces(client, SIZE, now=20.0) == [[1]]
    say(client, PubAck(1), now=30.0)
    assert client.deadline == 20.0 + 75.0

    client = again(1)
    say(client, PubAck(1), now=30.0)
    assert client.data_to_send(30.0) == b""
    assert client.deadline == 0.0 + 75.0
