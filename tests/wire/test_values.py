"""Packets are values: they behave as dataclasses, compiled or not."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest

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
    Will,
)
from tests.packet_table import PACKETS

FIELDS: dict[Any, tuple[str, ...]] = {
    Will: ("topic", "payload", "qos", "retain"),
    Connect: ("client_id", "username", "password", "clean_session", "keep_alive", "will"),
    ConnAck: ("session_present", "return_code"),
    Publish: ("topic", "payload", "qos", "retain", "dup", "packet_id"),
    PubAck: ("packet_id",),
    PubRec: ("packet_id",),
    PubRel: ("packet_id",),
    PubComp: ("packet_id",),
    Subscription: ("topic_filter", "qos"),
    Subscribe: ("packet_id", "subscriptions"),
    SubAck: ("packet_id", "return_codes"),
    Unsubscribe: ("packet_id", "topic_filters"),
    UnsubAck: ("packet_id",),
    PingReq: (),
    PingResp: (),
    Disconnect: (),
}

VALUES: list[Any] = [row.packet for row in PACKETS] + [Will("t", b"m", 1, True), Subscription("t")]


@pytest.mark.parametrize("cls", FIELDS, ids=lambda cls: cls.__name__)
def test_a_packet_has_its_fields(cls: Any) -> None:
    assert tuple(each.name for each in dataclasses.fields(cls)) == FIELDS[cls]
    assert cls.__match_args__ == FIELDS[cls]
    assert dataclasses.is_dataclass(cls)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_equal_fields_make_equal_values(value: Any) -> None:
    same = type(value)(*(getattr(value, name) for name in FIELDS[type(value)]))
    assert same == value
    assert not same != value  # noqa: SIM202  # both operators are asked
    assert same is not value
    assert value != 5
    assert value != tuple(getattr(value, name) for name in FIELDS[type(value)])
    for name in FIELDS[type(value)]:
        assert dataclasses.replace(value, **{name: "other"}) != value


def test_values_of_different_types_differ() -> None:
    kinds = [PubAck(1), PubRec(1), PubRel(1), PubComp(1), UnsubAck(1)]
    for one in kinds:
        assert [other for other in kinds if other == one] == [one]
    assert PingReq() != PingResp() != Disconnect()  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_copied_and_pickled(value: Any) -> None:
    copies = [copy.copy(value), copy.deepcopy(value)]
    if getattr(value, "password", None) is None:
        copies.append(pickle.loads(pickle.dumps(value)))
    for made in copies:
        assert made == value
        assert type(made) is type(value)
        assert made is not value


def test_a_password_is_neither_pickled_nor_shown_nor_made_a_dict_of() -> None:
    packet = Connect("c", "u", b"s3cret")
    assert packet.password == b"s3cret"
    for expose in (pickle.dumps, dataclasses.asdict, dataclasses.astuple):
        with pytest.raises(TypeError, match="secret"):
            expose(packet)  # type: ignore[operator]
    assert "s3cret" not in f"{packet!r} {packet.password!r}"
    assert Connect.decode(0, packet.encode()[2:]) == packet


def test_a_deep_copy_shares_nothing() -> None:
    packet = Subscribe(1, [Subscription("t")])
    assert copy.deepcopy(packet).subscriptions is not packet.subscriptions
    assert copy.copy(packet).subscriptions is packet.subscriptions


def test_replace_gives_a_new_value() -> None:
    packet = Publish("t", b"x", 1, packet_id=7)
    again = dataclasses.replace(packet, dup=True)
    assert again == Publish("t", b"x", 1, False, True, 7)
    assert not packet.dup
    assert dataclasses.replace(PubAck(1), packet_id=2) == PubAck(2)
    assert dataclasses.replace(Connect("a"), keep_alive=5) == Connect("a", keep_alive=5)


def test_fields_have_their_defaults() -> None:
    assert dataclasses.asdict(Publish("t")) == {
        "topic": "t",
        "payload": b"",
        "qos": 0,
        "retain": False,
        "dup": False,
        "packet_id": None,
    }
    assert dataclasses.asdict(Connect("c")) == {
        "client_id": "c",
        "username": None,
        "password": None,
        "clean_session": True,
        "keep_alive": 60,
        "will": None,
    }
    assert dataclasses.astuple(ConnAck()) == (False, 0)
    assert dataclasses.astuple(Will("t")) == ("t", b"", 0, False)
    assert Subscription("t").qos == 0


def test_fields_can_be_named() -> None:
    assert Publish(topic="t", payload=b"x", qos=1, retain=True, dup=True, packet_id=3) == Publish(
        "t", b"x", 1, True, True, 3
    )
    assert PubAck(packet_id=3) == PubAck(3)
    wrong: list[tuple[Any, dict[str, str]]] = [
        (Publish, {}),
        (PubAck, {}),
        (Connect, {"username": "u"}),
    ]
    for cls, missing in wrong:
        with pytest.raises(TypeError):
            cls(**missing)
    with pytest.raises(TypeError):
        Publish("t", nothing=1)  # type: ignore[call-arg]


def test_the_text_of_a_value_names_its_fields() -> None:
    assert (
        repr(Publish("t", b"x", 1, packet_id=7))
        == "Publish(topic='t', payload=b'x', qos=1, retain=False, dup=False, packet_id=7)"
    )
    assert repr(PubRel(7)) == "PubRel(packet_id=7)"
    assert repr(PingReq()) == "PingReq()"
    assert (
        repr(Subscribe(1, [Subscription("t", 1)]))
        == "Subscribe(packet_id=1, subscriptions=[Subscription(topic_filter='t', qos=1)])"
    )


def test_a_password_is_never_in_a_text() -> None:
    packet = Connect("c", "u", b"secret")
    assert "secret" not in repr(packet)
    assert "secret" not in str(packet)
    assert "secret" not in f"{[packet]}"


def test_values_match_patterns() -> None:
    match Publish("t", b"x", 1, packet_id=7):
        case Publish("t", payload, 1, packet_id=packet_id):
            assert (payload, packet_id) == (b"x", 7)
        case _:
            pytest.fail("no match")
    match PubRel(7):
        case PubAck(_):
            pytest.fail("no match")
        case PubRel(packet_id):
            assert packet_id == 7


def test_a_value_takes_no_other_attributes_and_is_no_key() -> None:
    for value in VALUES:
        with pytest.raises(AttributeError):
            value.nothing = 1
        with pytest.raises(TypeError):
            hash(value)


def test_a_constructor_checks_nothing() -> None:
    assert Publish(5, "x", "y", 1, 2, None).topic == 5  # type: ignore[arg-type,comparison-overlap]
    assert PubAck("x").packet_id == "x"  # type: ignore[arg-type,comparison-overlap]
    assert Connect(None, will=3).will == 3  # type: ignore[arg-type,comparison-overlap]
    assert Subscribe(None, None).subscriptions is None  # type: ignore[arg-type]


def test_packet_names_all_of_them() -> None:
    for row in PACKETS:
        assert isinstance(row.packet, Packet)
    assert not isinstance(Will("t"), Packet)
