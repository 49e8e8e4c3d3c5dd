"""Sessions and subscriptions: all are kept, five at most, and a wrong one ends the connection."""

import pytest

from mqttws.hub.service.session import Session, opened, subscribed, unsubscribed

from .world import DEVICE, MODULE

METHODS = "$iothub/methods/POST/#"
BOUND = "devices/dev/messages/devicebound/#"


def test_a_session_is_present_from_the_second_connection_on() -> None:
    first, present = opened(Session(), clean=False)
    assert not present
    kept = Session(first.kept, {METHODS: 1})
    again, present = opened(kept, clean=False)
    assert present
    assert again == kept


def test_clean_session_1_forgets_everything() -> None:
    session, present = opened(Session(kept=True, subscriptions={METHODS: 1}), clean=True)
    assert not present
    assert session == Session()


@pytest.mark.rule("HUB-17")
def test_qos_2_is_granted_as_1() -> None:
    found = subscribed(Session(), DEVICE, [(METHODS, 0), (BOUND, 2)])
    assert found == (Session(subscriptions={METHODS: 0, BOUND: 1}), [0, 1])


@pytest.mark.rule("HUB-16")
@pytest.mark.parametrize(
    "topic_filter",
    ["#", "+", "devices/dev/messages/devicebound/+", "devices/other/messages/devicebound/#",
     "devices/dev/messages/events/#", "$iothub/twin/res/+", ""],
)  # fmt: skip
def test_an_undocumented_filter_ends_the_connection(topic_filter: str) -> None:
    assert isinstance(subscribed(Session(), DEVICE, [(METHODS, 1), (topic_filter, 1)]), str)


def test_a_module_has_its_own_filters() -> None:
    assert isinstance(subscribed(Session(), MODULE, [(BOUND, 1)]), str)
    assert not isinstance(subscribed(Session(), MODULE, [("devices/dev/modules/mod/#", 1)]), str)


@pytest.mark.rule("HUB-16")
def test_a_sixth_subscription_ends_the_connection() -> None:
    module = "devices/dev/modules/mod"
    filters = [METHODS, "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"]
    five = [*filters, f"{module}/#", f"{module}/inputs/#"]
    assert not isinstance(subscribed(Session(), MODULE, [(name, 1) for name in five]), str)
    crowded = Session(subscriptions={str(n): 1 for n in range(5)})
    assert isinstance(subscribed(crowded, MODULE, [(METHODS, 1)]), str)


def test_unsubscribing_is_remembered() -> None:
    session = Session(kept=True, subscriptions={METHODS: 1, BOUND: 1})
    assert unsubscribed(session, [BOUND, "never"]) == Session(True, {METHODS: 1})
