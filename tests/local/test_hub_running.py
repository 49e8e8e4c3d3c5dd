"""LocalHub: the hub of a test that is not async, and the fixture ``local_hub``."""

import threading

import pytest

from mqttws import AsyncLocalHub, LocalHub, RequestTimedOut, SymmetricKey, UsageError, provision
from mqttws.hub.topics import (
    METHODS_FILTER,
    devicebound_filter,
    method_response_topic,
    parse_method_topic,
    telemetry_topic,
)
from mqttws.local.running import LocalDps


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("dps"))


def test_a_device_goes_through_dps_to_its_hub_and_back(state: str) -> None:
    with LocalDps(state=state) as dps, LocalHub(dps) as hub:
        credential = SymmetricKey("dev", dps.enroll_device("dev"))
        assignment = provision(dps.id_scope, credential, **dps.options)
        with assignment.client(**dps.options) as device:
            device.subscribe(METHODS_FILTER)
            device.subscribe(devicebound_filter("dev"), qos=1)
            device.publish(telemetry_topic("dev"), b"t", qos=1)
            assert hub.next_telemetry().payload == b"t"
            assert hub.is_connected("dev")
            messages = device.messages()

            def answer() -> None:
                call = parse_method_topic(next(messages).topic)
                assert call is not None
                device.publish(method_response_topic(200, call.request_id), b"[1]", qos=1)

            answering = threading.Thread(target=answer)
            answering.start()
            assert hub.invoke("dev", "m").payload == [1]
            answering.join()
            hub.send("dev", b"hello", {"a": "b"}, message_id="m")
            assert next(messages).payload == b"hello"
        assert hub.patch_twin("dev", tags={"a": 1}, desired={"b": 2}) == 2
        assert hub.twin("dev")["tags"] == {"a": 1}
        assert hub.feedback() == []
        assert hub.drop() == 0
        with pytest.raises(RequestTimedOut):
            next(hub.telemetry(0.01))


def test_a_hub_of_its_own_needs_no_dps(state: str) -> None:
    with LocalHub(name="own.azure-devices.net", state=state) as hub:
        key = hub.create_device("dev")
        assert hub.connection_string("dev") == (
            f"HostName=own.azure-devices.net;DeviceId=dev;SharedAccessKey={key};"
            f"GatewayHostName={hub.host}"
        )
        hub.disable_device("dev")
        hub.delete_device("dev")
        assert hub.fault("drop") == 1
        assert hub.cancel_faults()
        assert "own.azure-devices.net" in repr(hub)


def test_events_can_be_read_from_a_thread_and_a_hub_is_not_for_async_with(state: str) -> None:
    with LocalDps(state=state) as dps, LocalHub(dps) as hub:
        credential = SymmetricKey("seen", dps.enroll_device("seen"))
        with provision(dps.id_scope, credential, **dps.options).client(**dps.options) as device:
            device.publish(telemetry_topic("seen"), b"t", qos=1)
            events = hub.events(0)
            assert any(getattr(event, "payload", None) == b"t" for event in events)
        with pytest.raises(UsageError, match="certificate"):
            hub.trust_ca(b"none")
    with pytest.raises(UsageError) as caught, AsyncLocalHub():
        pass
    assert "LocalHub" in caught.value.hint
