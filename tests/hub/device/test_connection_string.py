"""Connection strings: each part, and each fault with a clear sentence and no secret in it."""

import pickle

import pytest

from mqttws import UsageError
from mqttws.hub.device.connection_string import ConnectionString, parse_connection_string

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
DEVICE = f"HostName=h.azure-devices.net;DeviceId=dev-1;SharedAccessKey={SECRET}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DEVICE, ConnectionString("h.azure-devices.net", "dev-1", key=SECRET)),
        (f" {DEVICE};\n", ConnectionString("h.azure-devices.net", "dev-1", key=SECRET)),
        (
            f"sharedaccesskey={SECRET};DEVICEID=Dev=1;hostname=h",
            ConnectionString("h", "Dev=1", key=SECRET),
        ),
        (
            f"{DEVICE};ModuleId=m;GatewayHostName=localhost",
            ConnectionString("h.azure-devices.net", "dev-1", "m", "localhost", SECRET),
        ),
        (
            f"{DEVICE};SharedAccessKeyName=device",
            ConnectionString("h.azure-devices.net", "dev-1", key=SECRET, key_name="device"),
        ),
        ("HostName=h;DeviceId=d;x509=true", ConnectionString("h", "d", x509=True)),
        (
            "HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1",
            ConnectionString("h", "d", token="SharedAccessSignature sr=a&sig=b&se=1"),
        ),
    ],
)
def test_a_device_connection_string_is_read(text: str, found: ConnectionString):
    assert parse_connection_string(text) == found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it has no HostName"),
        (f"DeviceId=d;SharedAccessKey={SECRET}", "it has no HostName"),
        (f"HostName=h;SharedAccessKey={SECRET}", "it has no DeviceId"),
        (
            f"HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={SECRET}",
            "it has no DeviceId but the policy 'iothubowner': it is a service's",
        ),
        (
            f"Endpoint=sb://x/;SharedAccessKeyName=p;SharedAccessKey={SECRET};EntityPath=h",
            "it is an Event Hubs endpoint's",
        ),
        ("HostName=h;DeviceId=d", "its credential: none"),
        (
            f"{DEVICE};SharedAccessSignature=SharedAccessSignature sr=a",
            "its credential: SharedAccessKey and SharedAccessSignature;",
        ),
        (f"{DEVICE};GatewayHostName=edge:8883", "GatewayHostName is 'edge:8883'; allowed: a host"),
        (f"{DEVICE};x509=true", "its credential: SharedAccessKey and x509=true"),
        (f"{DEVICE};DeviceId=e", "DeviceId stands in it twice"),
        (f"HostName=h:8883;DeviceId=d;SharedAccessKey={SECRET}", "allowed: a host name alone"),
        (f"HostName=https://h;DeviceId=d;SharedAccessKey={SECRET}", "allowed: a host name alone"),
        (f"HostName=h;DeviceId=d;SharedAccesKey={SECRET}", "part 3 has no known name"),
        (f"HostName=h;DeviceId=d;{SECRET}", "part 3 has no known name"),
        (SECRET, "part 1 has no known name"),
    ],
)
def test_a_fault_is_named_and_no_secret_is_shown(text: str, fault: str):
    with pytest.raises(UsageError) as caught:
        parse_connection_string(text)
    assert fault in str(caught.value)
    assert SECRET[:8] not in str(caught.value) + caught.value.hint
    assert "connection string" in caught.value.hint


def test_a_value_of_another_type_is_refused():
    with pytest.raises(UsageError, match="found bytes; allowed: str"):
        parse_connection_string(DEVICE.encode())  # type: ignore[arg-type]


def test_the_secret_is_in_no_repr_and_no_pickle():
    parsed = parse_connection_string(DEVICE)
    assert SECRET not in repr(parsed)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(parsed)
