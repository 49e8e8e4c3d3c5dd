"""The fixture ``local_dps`` as a user's tests have it."""

import gc
import os
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mqttws
from mqttws import (
    ConnectFailed,
    RegistrationFailed,
    RegistrationRejected,
    RequestTimedOut,
    SymmetricKey,
    UsageError,
    provision,
)
from mqttws.local.running import LocalDps
from mqttws.local.x509 import DeviceAuthority

from ..local import x509_world
from ..raises_recorder import RECORDING


def test_three_lines_provision_a_device(local_dps: LocalDps) -> None:
    key = local_dps.enroll_device("dev")
    assignment = provision(local_dps.id_scope, SymmetricKey("dev", key), **local_dps.options)
    assert assignment.device_id == "dev"


def test_each_test_has_a_service_of_its_own(local_dps: LocalDps) -> None:
    assert local_dps.registration("dev") is None
    assert "wss" in repr(local_dps)


def test_faults_and_certificates(local_dps: LocalDps) -> None:
    root = DeviceAuthority.root()
    local_dps.enroll(x509_world.group("fleet", root))
    device = root.issue("dev")
    credential = mqttws.X509Certificate(device.chain, device.key)
    local_dps.fault("answer", "dev", status=401, times=None)
    with pytest.raises(RegistrationRejected):
        provision(local_dps.id_scope, credential, **local_dps.options)
    local_dps.cancel_faults()
    assert provision(local_dps.id_scope, credential, **local_dps.options).device_id == "dev"
    record = local_dps.registration("dev")
    assert record is not None
    assert record.enrollment_group_id == "fleet"


def test_a_reset_forgets_devices_and_faults_and_keeps_enrollments(local_dps: LocalDps) -> None:
    credential = SymmetricKey("dev", local_dps.enroll_device("dev"))
    provision(local_dps.id_scope, credential, **local_dps.options)
    local_dps.fault("answer", "dev", status=401, times=None)
    assert local_dps.reset() == 1
    assert local_dps.registration("dev") is None
    provision(local_dps.id_scope, credential, **local_dps.options)


def test_a_group_and_a_certificate_each_take_one_call(local_dps: LocalDps) -> None:
    group_key = local_dps.enroll_group("keyed")
    credential: mqttws.SymmetricKey | mqttws.X509Certificate
    credential = SymmetricKey.from_group_key("one", group_key)
    assert provision(local_dps.id_scope, credential, **local_dps.options).device_id == "one"
    for name, group in (("two", "certified"), ("three", "certified"), ("four", "")):
        issued = local_dps.enroll_certificate(name, group=group)
        assert issued.chain.count(b"BEGIN CERTIFICATE") == (2 if group else 1)
        credential = mqttws.X509Certificate(issued.chain, issued.key)
        assert provision(local_dps.id_scope, credential, **local_dps.options).device_id == name
    records = {record.registration_id: record for record in local_dps.registrations()}
    assert set(records) == {"one", "two", "three", "four"}
    assert records["three"].enrollment_group_id == "certified"


def test_enrollments_are_listed_disabled_and_deleted(local_dps: LocalDps) -> None:
    key = local_dps.enroll_device("dev")
    group_key = local_dps.enroll_group("fleet")
    credential = SymmetricKey("dev", key)
    listed = local_dps.enrolled()
    assert [one.get("registrationId") or one["enrollmentGroupId"] for one in listed] == [
        "dev",
        "fleet",
    ]
    assert key not in str(listed)
    assert group_key not in str(listed)
    local_dps.disable("DEV")
    with pytest.raises(RegistrationFailed) as ended:
        provision(local_dps.id_scope, credential, **local_dps.options)
    assert ended.value.state == "disabled"
    local_dps.enable("dev")
    assert provision(local_dps.id_scope, credential, **local_dps.options).device_id == "dev"
    local_dps.disable("fleet", group=True)
    local_dps.delete("dev")
    local_dps.delete("fleet", group=True)
    assert local_dps.enrolled() == []
    with pytest.raises(RegistrationRejected) as refused:
        provision(local_dps.id_scope, credential, **local_dps.options)
    assert refused.value.status == 404
    with pytest.raises(UsageError, match="there is no enrollment 'dev'"):
        local_dps.delete("dev")
    with pytest.raises(UsageError, match="there is no enrollment group 'fleet'"):
        local_dps.disable("fleet", group=True)


def test_what_the_service_saw_can_be_asserted(local_dps: LocalDps) -> None:
    key = local_dps.enroll_device("dev")
    credential = SymmetricKey("dev", key)
    local_dps.fault("answer", "dev", status=429, retry_after=0)
    provision(local_dps.id_scope, credential, **local_dps.options)
    ended = local_dps.wait_for("disconnected", "dev")
    told = [(event.data["request"], event.data["status"]) for event in local_dps.seen("request")]
    assert told == [("register", 429), ("register", 202), ("poll", 200)]
    kinds = [event.kind for event in local_dps.seen(device="dev") if event.kind != "request"]
    assert kinds == ["connected", "fault", "assigned", "disconnected"]
    (assigned,) = local_dps.seen("assigned")
    assert assigned.data["substatus"] == "initialAssignment"
    first = next(local_dps.events(after=0))
    assert (first.kind, first.to_json()["change"]) == ("enrollment", "put")
    assert key not in str([event.to_json() for event in local_dps.seen()])
    with pytest.raises(RequestTimedOut, match="no event 'connected' of 'dev' within"):
        local_dps.wait_for("connected", "dev", after=ended.sequence, timeout=0.01)


def test_a_refused_connection_is_seen(local_dps: LocalDps) -> None:
    credential = SymmetricKey("dev", local_dps.enroll_device("dev"))
    distrusting = {**local_dps.options, "tls": mqttws.TlsConfig()}
    with pytest.raises(mqttws.MqttwsError):
        provision(local_dps.id_scope, credential, timeout=5, **distrusting)
    refused = local_dps.wait_for("refused")
    assert refused.data["hop"] == "tls"
    assert "handshake" in refused.data["reason"]


def test_a_module_shares_one_service(local_dps_module: LocalDps) -> None:
    local_dps_module.enroll_device("shared")
    assert local_dps_module.enrolled()


def test_it_is_the_same_one_in_the_next_test(
    local_dps_module: LocalDps, local_dps: LocalDps, local_dps_session: LocalDps
) -> None:
    ports = {dps.wss_port for dps in (local_dps_module, local_dps, local_dps_session)}
    assert len(ports) == 3


async def test_coroutines_await_its_calls(async_local_dps: mqttws.AsyncLocalDps) -> None:
    dps = async_local_dps
    key = await dps.enroll_device("dev")
    credential = SymmetricKey("dev", key)
    assignment = await mqttws.provision_async(dps.id_scope, credential, **dps.options)
    assert assignment.device_id == "dev"
    assert (await dps.wait_for("assigned")).device == "dev"
    events = dps.events(after=0)
    assert (await anext(events)).kind == "enrollment"
    await events.aclose()  # type: ignore[attr-defined]
    await dps.delete("dev")
    assert await dps.enrolled() == []
    assert [event.kind for event in dps.seen("enrollment")] == ["enrollment"] * 2


async def test_one_of_a_session_serves_every_loop(
    async_local_dps_session: mqttws.AsyncLocalDps,
) -> None:
    await async_local_dps_session.enroll_device("in-one-loop")


async def test_and_the_next_loop_too(async_local_dps_session: mqttws.AsyncLocalDps) -> None:
    await async_local_dps_session.enroll_device("in-another")


def test_it_starts_within_300_ms_once_there_is_a_ca(local_dps: LocalDps, tmp_path: Path) -> None:
    with LocalDps(state=tmp_path):
        pass
    took = []
    for _ in range(5):
        began = time.perf_counter()
        with LocalDps(state=tmp_path):
            took.append(time.perf_counter() - began)
    assert min(took) < 0.3


def test_after_its_end_it_says_so(tmp_path: Path) -> None:
    dps = LocalDps(state=tmp_path)
    with dps:
        key = dps.enroll_device("dev")
        options = dps.options
    with pytest.raises(UsageError, match="not running"):
        dps.enroll_device("other")
    with pytest.raises(ConnectFailed):
        provision(dps.id_scope, SymmetricKey("dev", key), **options)
    dps.stop()


def test_one_that_is_never_started_leaves_nothing_open(recwarn: pytest.WarningsRecorder) -> None:
    dps = LocalDps()
    dps.stop()
    del dps
    gc.collect()
    assert not recwarn.list


_USERS_TESTS = """
import sys
import mqttws

def test_nothing_is_loaded_before_it_is_used():
    for heavy in ("cryptography", "websockets", "asyncio", "mqttws.local.dps"):
        assert heavy not in sys.modules or heavy == "asyncio", heavy

def test_b(local_dps):
    key = local_dps.enroll_device("dev")
    found = mqttws.provision(
        local_dps.id_scope, mqttws.SymmetricKey("dev", key), **local_dps.options
    )
    assert found.assigned_hub == "my-hub.azure-devices.net"

def test_c(local_dps):
    test_b(local_dps)

def test_d(local_dps):
    test_b(local_dps)

def test_of_a_module(local_dps_module):
    test_b(local_dps_module)

def test_of_a_session(local_dps_session):
    test_b(local_dps_session)
"""

_USERS_CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def local_dps_options():
    return {"hubs": ["my-hub.azure-devices.net"]}
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_users_suite_in_a_process_of_its_own(tmp_path: Path, workers: list[str]) -> None:
    if workers:
        pytest.importorskip("xdist")
    (tmp_path / "test_users.py").write_text(_USERS_TESTS)
    (tmp_path / "conftest.py").write_text(_USERS_CONFTEST)
    package = str(Path(mqttws.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {package!r}); import pytest; sys.exit(pytest.main())"
    options = ["-q", "-p", "no:hypothesispytest", *workers]
    if not entry_points(group="pytest11", name="mqttws"):  # not installed: a source tree
        options += ["-p", "mqttws.pytest_plugin"]
    if workers:  # workers start before they know of the first test
        options += ["--deselect", "test_users.py::test_nothing_is_loaded_before_it_is_used"]
    done = subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join([RECORDING, package]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_hub_stands_behind_the_fixtures_ports(
    local_dps: LocalDps, local_hub: mqttws.LocalHub
) -> None:
    key = local_dps.enroll_device("dev")
    assignment = provision(local_dps.id_scope, SymmetricKey("dev", key), **local_dps.options)
    assert assignment.assigned_hub == local_hub.name
    assert local_hub.twin("dev")["deviceId"] == "dev"
    local_hub.create_device("other")
    local_hub.fault("drop", "dev")
    local_dps.reset()
    for device in ("dev", "other"):
        with pytest.raises(mqttws.HubRequestRejected):
            local_hub.twin(device)
    assert not local_hub.cancel_faults()
    again = provision(local_dps.id_scope, SymmetricKey("dev", key), **local_dps.options)
    assert again.assigned_hub == local_hub.name
    assert local_hub.twin("dev")["deviceId"] == "dev"
