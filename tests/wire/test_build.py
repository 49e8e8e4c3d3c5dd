"""The package can be installed with and without a compiler, and says which codec it has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]

WHICH = """
import mqttws, mqttws.wire as wire
from mqttws.wire import framing, Publish, decode, encode
packet = Publish("t", b"x", 1, packet_id=7)
assert decode(encode(packet)) == packet
assert framing.__file__.endswith(".py") is not wire.COMPILED
print(mqttws.__file__, wire.COMPILED)
"""


def installed(place: Path, **environment: str) -> bool:
    """Install the source tree to ``place`` and return what the copy says of itself."""
    source = place / "source"
    shutil.copytree(
        SOURCE,
        source,
        ignore=shutil.ignore_patterns(
            ".*", "build", "dist", "*.so", "*.pyd", "*.egg-info", "*.pyc"
        ),
    )
    target = place / "target"
    ours = {name: value for name, value in os.environ.items() if name != "MQTTWS_PURE"}
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, source],
        check=True,
        env=ours | environment,
    )
    answer = subprocess.run(
        [sys.executable, "-c", WHICH],
        check=True,
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(target)},
    ).stdout.split()
    assert answer[0].startswith(str(target))
    assert bool(list(target.rglob("*.so")) + list(target.rglob("*.pyd"))) is (answer[1] == "True")
    return answer[1] == "True"


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment", [{"CC": "/nonexistent"}, {"MQTTWS_PURE": "1"}], ids=["no compiler", "asked"]
)
def test_without_a_compiler_the_install_succeeds_uncompiled(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    assert not installed(tmp_path, **environment)


@pytest.mark.slow
def test_with_a_compiler_the_codec_is_compiled(tmp_path: Path) -> None:
    if not shutil.which(os.environ.get("CC", "gcc")):
        if os.environ.get("CI") == "true":
            pytest.fail("in CI there must be a compiler")
        pytest.skip("no compiler")
    assert installed(tmp_path)
