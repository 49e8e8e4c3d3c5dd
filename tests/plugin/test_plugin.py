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
from mqttws import ConnectFailed, RegistrationRejected, SymmetricKey, UsageError, provision
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
