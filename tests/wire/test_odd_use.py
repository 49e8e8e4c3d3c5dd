"""The codec, compiled or not, answers odd use alike."""

from collections.abc import Callable

import pytest

from mqttws.wire import (
    Connect,
    Decoder,
    PingReq,
    PubAck,
    Publish,
    Subscribe,
    Subscription,
    UsageError,
    matches,
)


class Odd(str):
    __slots__ = ()

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return b"something else"


@pytest.mark.parametrize(
    ("kind", "given"),
    [(Publish, ["t"]), (PubAck, [1]), (Connect, ["c"]), (PingReq, []), (Decoder, [])],
)
def test_packets_and_decoder_have_no_subclasses(kind: type, given: list[object]) -> None:
    with pytest.raises(TypeError):  # compiled, as the first one is made
        type("Mine", (kind,), {})(*given)


@pytest.mark.parametrize("packet", [Publish("t"), PubAck(1), Connect("c")])
def test_a_field_cannot_be_deleted(packet: object) -> None:
    name = next(iter(type(packet).__match_args__))  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="cannot be deleted"):
        delattr(packet, name)
    assert getattr(packet, name)


def test_a_decoder_keeps_its_limit() -> None:
    decoder = Decoder(100)
    with pytest.raises(AttributeError):
        del decoder.max_packet_size  # type: ignore[misc]
    with pytest.raises(AttributeError):
        decoder.max_packet_size = 7  # type: ignore[misc]
    decoder.set_max_packet_size(200)
    assert decoder.max_packet_size == 200
    with pytest.raises(UsageError, match="allowed: 2 to") as caught:
        decoder.set_max_packet_size(1)
    assert caught.value.rule == ""  # no statement of the standard is broken
    assert decoder.max_packet_size == 200
    decoder.set_max_packet_size(2)
    assert decoder.max_packet_size == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda: Publish(zz=1),  # type: ignore[call-arg]
        lambda: Publish(qos=1),  # type: ignore[call-arg]
        lambda: Publish("t", b"", 0, False, False, None, 7),  # type: ignore[call-arg]
        lambda: Publish.decode("a", "b"),  # type: ignore[arg-type]
        lambda: PubAck.decode("a", "b"),  # type: ignore[arg-type]
    ],
)
def test_what_is_called_wrongly_is_a_type_error(use: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        use()


def test_what_is_no_text_matches_nothing_and_is_named() -> None:
    with pytest.raises(UsageError, match="topic_filter: found NoneType; allowed: a str"):
        matches(None, "a")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="topic: found int; allowed: a str"):
        matches("a", 5)  # type: ignore[arg-type]


def test_text_of_a_class_of_its_own_is_encoded_as_text() -> None:
    assert Publish(Odd("ab"), b"").encode() == Publish("ab", b"").encode()
    for odd, text in ((Odd("ab"), "ab"), (Odd("a/#"), "a/#")):
        wishes = Subscribe(1, [Subscription(odd, 1)]).encode()
        assert wishes == Subscribe(1, [Subscription(text, 1)]).encode()
    assert Connect(Odd("ab")).encode() == Connect("ab").encode()
