"""``mqttws enroll export``, ``import`` and ``ca``: a whole service moves, keys only on request."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.local.x509 import DeviceAuthority

from . import x509_world

try:
    from mqttws.local.admin import AdminApi

    from .test_admin import shell
    from .test_cas import referring
    from .test_service_door import ask
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

ROOT = DeviceAuthority.root("moved")
KEY = "a2V5a2V5a2V5a2V5a2V5a2V5"
EVERYTHING: list[tuple[str, dict[str, Any]]] = [
    (
        "/enrollments/keyed",
        {
            "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY}},
            "initialTwin": {"tags": {"a": 1}},
            "newerMember": {"b": 2},
        },
    ),
    ("/enrollments/tpm", {"attestation": {"type": "tpm", "tpm": {"endorsementKey": "RUsx"}}}),
    ("/enrollments/leaf", x509_world.individual("leaf", ROOT.issue("leaf").certificate)),
    ("/enrollmentGroups/signed", x509_world.group("signed", DeviceAuthority.root("other"))),
    ("/enrollmentGroups/refers", referring("refers", "Root")),
]


async def shown(dps: AsyncLocalDps) -> list[Any]:
    """Return everything that the service keeps, without what it makes itself."""
    found = []
    for path, _ in EVERYTHING:
        record = (await ask(dps, "GET", path))[1]
        for made in ("etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"):
            del record[made]
        found.append(record)
    return found


async def test_a_whole_service_moves_with_its_keys_only_on_request(tmp_path: Path) -> None:
    pem = tmp_path / "root.pem"
    pem.write_text(ROOT.pem)
    texts = {}
    async with AsyncLocalDps() as old, AdminApi(old) as admin:
        enroll = ("enroll", "--admin", admin.url)
        assert (await shell(*enroll, "ca", "Root", str(pem)))[0] == 0
        for path, body in EVERYTHING:
            assert (await ask(old, "PUT", path, body))[0] == 200
        for keys in ((), ("--keys",)):
            code, texts[keys], _ = await shell(*enroll, "export", *keys)
            assert code == 0
        before = await shown(old)
    assert KEY not in texts[()]
    assert KEY in texts["--keys",]
    async with AsyncLocalDps() as new, AdminApi(new) as admin:
        enroll = ("enroll", "--admin", admin.url)
        code, told, _ = await shell(*enroll, "import", "-", given=texts["--keys",])
        assert (code, told.splitlines()[0]) == (0, "uploaded CA certificate Root")
        assert await shown(new) == before
        mechanism = (await ask(new, "POST", "/enrollments/keyed/attestationmechanism"))[1]
        assert mechanism["symmetricKey"] == {"primaryKey": KEY}
        await x509_world.register(new, ROOT.issue("member"))
        code, told, _ = await shell(*enroll, "import", "-", given=texts[()])
        assert (code, "enrolled keyed; FILE has no keys of it" in told) == (0, True)
        again = (await ask(new, "POST", "/enrollments/keyed/attestationmechanism"))[1]
        assert again == mechanism
        assert (await shell(*enroll, "delete", "--ca", "root"))[0] != 0  # a group refers to it


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("[", "not JSON"),
        ('{"enrollments": 5}', "expected a list"),
        ('{"enrollments": [{"registrationId": "a"}]}', "[0].attestation: missing"),
        ('{"enrollments": [], "certificates": [{"name": 5}]}', "[0].name: found a number"),
        ("5", "expected a list"),
    ],
)
async def test_a_file_that_is_no_export_is_refused_before_anything_is_sent(
    given: str, told: str
) -> None:
    code, out, error = await shell(
        "enroll", "--admin", "http://127.0.0.1:1", "import", "-", given=given
    )
    assert (code, out) == (41, "")
    assert told in error
    assert "Traceback" not in error


async def test_what_a_query_of_the_cloud_answers_is_imported(tmp_path: Path) -> None:
    page = [{"registrationId": "a", "attestation": {"type": "symmetricKey"}, "etag": "x"}]
    async with AsyncLocalDps() as dps, AdminApi(dps) as admin:
        for text in (json.dumps(page), json.dumps(page[0]), json.dumps({"value": page})):
            file = tmp_path / "page.json"
            file.write_text(text)
            code, _, error = await shell("enroll", "--admin", admin.url, "import", str(file))
            assert (code, error) == (0, "")
        assert (await ask(dps, "GET", "/enrollments/a"))[0] == 200
