"""The admin API over real HTTP, and the shell's commands that use it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mqttws import (
    AsyncLocalDps,
    Hop,
    PortTaken,
    SymmetricKey,
    TlsConfig,
    UsageError,
    provision_async,
)
from mqttws.dps.sas import decode_key
from mqttws.dps.tables import INDIVIDUALS
from mqttws.local.x509 import DeviceAuthority

from . import x509_world

try:
    import aiohttp

    from mqttws.local import admin as admin_module
    from mqttws.local import service_api
    from mqttws.local.admin import AdminApi

    from ..cli.shell import run
except (ImportError, UsageError):
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

KEYED = {"attestation": {"type": "symmetricKey"}}


class Asked:
    """What one request was answered."""

    def __init__(self, status: int, body: Any, headers: Any) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Script:
    """A script that asks the admin API."""

    def __init__(self, dps: AsyncLocalDps, admin: AdminApi, session: aiohttp.ClientSession) -> None:
        self.dps = dps
        self.admin = admin
        self._session = session

    async def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Asked:
        arguments: dict[str, Any] = {"headers": headers or {}}
        if isinstance(body, bytes):
            arguments["data"] = body
        elif body is not None:
            arguments["json"] = body
        url = f"{self.admin.url}{path}?api-version=2021-10-01"
        async with self._session.request(method, url, **arguments) as response:
            text = await response.read()
            return Asked(response.status, json.loads(text) if text else None, response.headers)

    async def register(self, name: str, key: str) -> Any:
        return await provision_async(
            self.dps.id_scope,
            SymmetricKey(name, key),
            host=self.dps.host,
            port=self.dps.wss_port,
            tls=TlsConfig(ca=self.dps.ca_file, only_ca=True),
        )


@asynccontextmanager
async def script(dps: AsyncLocalDps, **options: Any) -> AsyncIterator[Script]:
    async with dps, AdminApi(dps, **options) as admin, aiohttp.ClientSession() as session:
        yield Script(dps, admin, session)


@pytest.mark.rule("DPS-E404202/service")
@pytest.mark.operation(
    "Service API: PUT /enrollments/{id}",
    "Service API: GET /enrollments/{id}",
    "Service API: DELETE /enrollments/{id}",
    "Service API: POST /enrollments/{id}/attestationmechanism",
    "Service API: GET /registrations/{id}",
    "Service API: DELETE /registrations/{id}",
)
async def test_a_script_enrolls_a_device_as_in_the_cloud(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        put = await it.ask("PUT", "/enrollments/Dev-1", KEYED | {"deviceId": "One"})
        assert put.status == 200
        assert put.body["registrationId"] == "Dev-1"
        assert put.body["createdDateTimeUtc"] == put.body["lastUpdatedDateTimeUtc"]
        shown = await it.ask("GET", "/enrollments/dev-1")
        assert shown.body["attestation"] == {"type": "symmetricKey"}
        assert shown.headers["ETag"] == f'"{put.body["etag"]}"'
        keys = await it.ask("POST", "/enrollments/dev-1/attestationmechanism")
        assert keys.body == put.body["attestation"]
        key = keys.body["symmetricKey"]["primaryKey"]
        assert len(decode_key(key)) == 64
        assert (await it.register("dev-1", key)).device_id == "One"
        got = await it.ask("GET", "/registrations/DEV-1")
        assert (got.status, got.body["deviceId"]) == (200, "One")
        assert (await it.ask("DELETE", "/registrations/dev-1")).status == 204
        assert (await it.ask("GET", "/registrations/dev-1")).status == 404
        assert (await it.register("dev-1", key)).substatus == "initialAssignment"
        assert (await it.ask("DELETE", "/enrollments/dev-1")).status == 204
        gone = await it.ask("GET", "/enrollments/dev-1")
        assert (gone.status, gone.body["errorCode"]) == (404, 404201)


@pytest.mark.operation(
    "Service API: PUT /enrollmentGroups/{id}",
    "Service API: POST /registrations/{group id}/query",
    "Service API: POST /enrollmentGroups/query",
)
async def test_a_group_of_certificates_works_at_once(local_dps: AsyncLocalDps) -> None:
    root = DeviceAuthority.root()
    async with script(local_dps) as it:
        group = x509_world.group("fleet", root)
        assert (await it.ask("PUT", "/enrollmentGroups/fleet", group)).status == 200
        await x509_world.register(it.dps, root.issue("member"))
        found = await it.ask("POST", "/registrations/fleet/query")
        assert [record["registrationId"] for record in found.body] == ["member"]
        listed = await it.ask("POST", "/enrollmentGroups/query", {"query": "SELECT * FROM x"})
        assert [record["enrollmentGroupId"] for record in listed.body] == ["fleet"]


@pytest.mark.operation("Service API: POST /enrollments/query")
async def test_a_query_comes_in_pages(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        for number in range(5):
            await it.dps.enroll_device(f"dev-{number}")
        names: list[str] = []
        headers = {"x-ms-max-item-count": "2"}
        while True:
            page = await it.ask("POST", "/enrollments/query", {"query": "select * from e"}, headers)
            names += [record["registrationId"] for record in page.body]
            if "x-ms-continuation" not in page.headers:
                break
            headers["x-ms-continuation"] = page.headers["x-ms-continuation"]
        assert names == [f"dev-{number}" for number in range(5)]


async def test_a_change_that_names_no_keys_keeps_them(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        made = (await it.ask("PUT", "/enrollments/d", KEYED)).body
        got = (await it.ask("GET", "/enrollments/d")).body
        changes: list[dict[str, Any]] = [
            got | {"deviceId": "other"},
            got | {"attestation": {"type": "symmetricKey", "symmetricKey": None, "tpm": None}},
            got | {"attestation": {"type": "symmetricKey",
                                   "symmetricKey": {"primaryKey": "", "secondaryKey": None}}},
        ]  # fmt: skip
        for change in changes:
            put = await it.ask("PUT", "/enrollments/d", change, {"If-Match": "*"})
            assert put.body["attestation"] == made["attestation"]
        key = made["attestation"]["symmetricKey"]["primaryKey"]
        assert (await it.register("d", key)).device_id == "d"


async def test_certificates_come_with_what_stands_in_them_and_stay_without_their_text(
    local_dps: AsyncLocalDps,
) -> None:
    async with script(local_dps) as it:
        group = x509_world.group("fleet", DeviceAuthority.root())
        put = (await it.ask("PUT", "/enrollmentGroups/fleet", group)).body
        primary = put["attestation"]["x509"]["signingCertificates"]["primary"]
        assert len(primary["info"]["sha256Thumbprint"]) == 64
        assert primary["info"]["subjectName"].startswith("CN=")
        primary["certificate"] = None
        again = await it.ask("PUT", "/enrollmentGroups/fleet", put, {"If-Match": put["etag"]})
        kept = again.body["attestation"]["x509"]["signingCertificates"]["primary"]
        assert kept["certificate"].startswith("-----BEGIN")
        assert kept["info"] == primary["info"]


@pytest.mark.operation("Service API: POST /enrollmentGroups/{id}/attestationmechanism")
@pytest.mark.parametrize("query", ["*", "SELECT *", "select * from enrollments"])
async def test_a_query_and_a_path_may_be_written_as_service_sdks_write_them(
    local_dps: AsyncLocalDps, query: str
) -> None:
    async with script(local_dps) as it:
        await it.ask("PUT", "/enrollmentgroups/Fleet", KEYED)
        listed = await it.ask("POST", "/ENROLLMENTGROUPS/QUERY", {"query": query})
        assert [group["enrollmentGroupId"] for group in listed.body] == ["Fleet"]
        keys = await it.ask("POST", "/enrollmentgroups/fleet/AttestationMechanism")
        assert keys.body["type"] == "symmetricKey"


@pytest.mark.operation("Service API: POST /enrollments")
async def test_many_are_changed_at_once_and_what_failed_is_listed(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        some = [{"registrationId": name, **KEYED} for name in ("a", "b!", "c")]

        async def bulk(mode: str, records: list[dict[str, Any]]) -> Any:
            return (
                await it.ask("POST", "/enrollments", {"mode": mode, "enrollments": records})
            ).body

        made = await bulk("create", some)
        assert not made["isSuccessful"]
        assert [(e["registrationId"], e["errorCode"]) for e in made["errors"]] == [("b!", 400004)]
        again = await bulk("create", some[:1])
        assert [e["errorCode"] for e in again["errors"]] == [409001]
        assert (await bulk("update", [some[0] | {"deviceId": "A"}]))["isSuccessful"]
        got = (await it.ask("GET", "/enrollments/a")).body
        assert got["deviceId"] == "A"
        stale = await bulk("updateIfMatchETag", [got | {"etag": "other"}])
        assert [e["errorCode"] for e in stale["errors"]] == [412000]
        assert (await bulk("updateIfMatchETag", [got]))["isSuccessful"]
        gone = await bulk("delete", [some[0], some[2], {"registrationId": "none"}])
        assert [e["errorCode"] for e in gone["errors"]] == [404201]
        assert (await it.ask("POST", "/enrollments/query", {"query": "*"})).body == []


async def test_an_enrollment_is_replaced_only_by_a_request_that_names_it(
    local_dps: AsyncLocalDps,
) -> None:
    async with script(local_dps) as it:
        for headers, status in (
            ({"If-Match": "x"}, 404), ({"If-None-Match": "*"}, 200), ({}, 409),
            ({"If-None-Match": "*"}, 412), ({"If-Match": "x"}, 412), ({"If-Match": "*"}, 200),
        ):  # fmt: skip
            put = await it.ask("PUT", "/enrollments/d", KEYED, headers)
            assert put.status == status, headers


async def test_an_etag_guards_against_overwriting(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        etag = (await it.ask("PUT", "/enrollments/d", KEYED)).body["etag"]
        later = await it.ask("PUT", "/enrollments/d", KEYED, {"If-Match": f'"{etag}"'})
        assert later.status == 200
        assert later.body["etag"] != etag
        for method, body in (("PUT", KEYED), ("DELETE", None)):
            refused = await it.ask(method, "/enrollments/d", body, {"If-Match": etag})
            assert (refused.status, refused.body["errorCode"]) == (412, 412000)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        (
            "PUT",
            "/enrollments/d",
            {"attestation": {"type": "rain"}},
            400,
            "one of symmetricKey, x509",
        ),
        ("PUT", "/enrollments/d", {"registrationId": "e", **KEYED}, 400, "differs"),
        ("PUT", "/enrollments/d", [1], 400, "an object"),
        ("PUT", "/enrollments/d!", KEYED, 400, "registration id"),
        ("POST", "/enrollments/query", {"query": "DROP TABLE"}, 400, "SELECT"),
        ("POST", "/faults", {"kind": "rain"}, 400, "allowed: answer"),
        ("DELETE", "/faults/7", None, 404, "Fault not found"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("PATCH", "/enrollments/d", None, 405, "Method Not Allowed"),
        ("PUT", "/enrollments/d", b"{}", 415, "application/json"),
        ("POST", "/enrollments", {"mode": "rain"}, 400, "mode"),
        ("POST", "/enrollments", {"mode": "create"}, 400, "a list of 1 to 10"),
        ("POST", "/enrollments", {"mode": "create", "enrollments": [1]}, 400, "registrationId"),
        ("GET", "/enrollments", None, 405, "Method Not Allowed"),
        ("PUT", "/enrollments/a%2Fb", KEYED, 400, "registration id"),
        ("PUT", "/enrollments/d%C3%A9v", KEYED, 400, "registration id"),
        ("PUT", "/enrollments/" + "d" * 129, KEYED, 400, "at most 128"),
        ("PUT", "/enrollments/d", KEYED | {"capabilities": {"IotEdge": 1}}, 400, "IotEdge"),
        ("PUT", "/enrollments/d", KEYED | {"iotHubs": "a"}, 400, "iotHubs"),
        ("PUT", "/enrollments/d", {"attestation": {"type": "tpm"}}, 400, "attestation.tpm"),
        ("DELETE", "/enrollments/none", None, 404, "Enrollment not found"),
        ("DELETE", "/registrations/none", None, 404, "Registration not found"),
        ("POST", "/enrollments/none/attestationmechanism", None, 404, "Enrollment not found"),
        ("DELETE", "/faults/x", None, 404, "Fault not found"),
    ],
)
async def test_what_is_wrong_is_told_in_json(  # noqa: PLR0917 - a row of the table above
    local_dps: AsyncLocalDps, method: str, path: str, body: object, status: int, told: str
) -> None:
    async with script(local_dps) as it:
        refused = await it.ask(method, path, body)
    assert refused.status == status
    assert told in refused.body["message"]
    assert refused.body["trackingId"]


@pytest.mark.parametrize("text", [b"", b"{", b"nope", b"\xff", b"null", b"[" * 100_000, b"[NaN]"])
async def test_malformed_json_is_400_and_changes_nothing(
    local_dps: AsyncLocalDps, text: bytes
) -> None:
    async with script(local_dps) as it:
        kind = {"Content-Type": "application/json"}
        for method, path in (("PUT", "/enrollments/d"), ("POST", "/faults")):
            refused = await it.ask(method, path, text, kind)
            assert refused.status == 400, refused.body
            assert refused.body["errorCode"] == 400004
        assert not (await it.dps.store.page(INDIVIDUALS)).items
        assert await it.dps.faults.orders() == {}


async def test_a_body_that_is_too_large_is_413(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_module, "MAX_BODY", 1000)
    async with script(local_dps) as it:
        refused = await it.ask("PUT", "/enrollments/d", KEYED | {"deviceId": "x" * 1000})
        assert (refused.status, refused.body["errorCode"]) == (413, 413000)
        assert (await it.ask("PUT", "/enrollments/d", KEYED)).status == 200


@pytest.mark.parametrize("header", ["x-ms-max-item-count", "x-ms-continuation"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "0", "9" * 30])
async def test_a_page_that_cannot_be_is_400(
    local_dps: AsyncLocalDps, header: str, value: str
) -> None:
    async with script(local_dps) as it:
        await it.dps.enroll_device("dev")
        query = {"query": "SELECT * FROM enrollments"}
        page = await it.ask("POST", "/enrollments/query", query, {header: value})
    assert (page.status, page.body["errorCode"]) == (400, 400004)
    assert header in page.body["message"]


async def test_scripts_and_devices_do_not_disturb_each_other(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        keys = {
            f"dev-{number}": await it.dps.enroll_device(f"dev-{number}") for number in range(20)
        }

        async def administer(number: int) -> None:
            name = f"other-{number}"
            for _ in range(5):
                assert (await it.ask("PUT", f"/enrollments/{name}", KEYED)).status == 200
                await it.ask("POST", "/enrollments/query", {"query": "SELECT * FROM e"})
                await it.ask("GET", f"/registrations/dev-{number}")
                assert (await it.ask("DELETE", f"/enrollments/{name}")).status == 204

        found = await asyncio.gather(
            *(it.register(name, key) for name, key in keys.items()),
            *(administer(number) for number in range(5)),
        )
        assert {one.device_id for one in found if one is not None} == set(keys)
        assert len((await it.dps.store.page(INDIVIDUALS)).items) == 20


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
async def test_what_happens_is_streamed(local_dps: AsyncLocalDps, accept: str) -> None:
    async with script(local_dps) as it:
        key = await it.dps.enroll_device("dev")
        await it.register("dev", key)
        options = {"headers": {"Accept": accept}, "params": {"after": "0"}}
        found: list[dict[str, Any]] = []
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{it.admin.url}/events", **options) as response:  # type: ignore[arg-type]
                as_events = accept == "text/event-stream"
                async for line in response.content:
                    text = line.decode().strip()
                    if as_events and text.startswith("data: "):
                        found.append(json.loads(text.removeprefix("data: ")))
                    elif not as_events and text:
                        found.append(json.loads(text))
                    if found and found[-1]["event"] == "disconnected":
                        break
        kinds = [event["event"] for event in found]
        assert kinds == [
            "enrollment",
            "connected",
            "assigned",
            "request",
            "request",
            "disconnected",
        ]
        assert [event["sequenceNumber"] for event in found] == list(range(1, 7))
        assert key not in str(found)


async def test_faults_are_ordered_listed_and_cancelled(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        order = {"kind": "answer", "device": "d", "status": 429, "retry_after": 0, "times": 2}
        number = (await it.ask("POST", "/faults", order)).body["id"]
        listed = (await it.ask("GET", "/faults")).body
        assert listed == [order | {"id": number}]
        assert (await it.ask("DELETE", f"/faults/{number}")).status == 204
        await it.ask("POST", "/faults", order)
        assert (await it.ask("DELETE", "/faults")).status == 204
        assert await it.dps.faults.orders() == {}


async def test_a_token_is_demanded_where_there_is_one(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps, token="s3cret") as it:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "s3cret"}):
            refused = await it.ask("GET", "/faults", headers=headers)
            assert refused.status == 401
            assert "s3cret" not in json.dumps(refused.body)
        assert (
            await it.ask("GET", "/faults", headers={"Authorization": "Bearer s3cret"})
        ).status == 200


async def test_a_web_page_of_another_name_is_refused(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        refused = await it.ask("GET", "/faults", headers={"Host": "rebound.example"})
    assert refused.status == 403


def test_another_address_than_loopback_needs_a_token(local_dps: AsyncLocalDps) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "some.name"):
        with pytest.raises(UsageError, match="token"):
            AdminApi(local_dps, host=host)
    AdminApi(local_dps, host="0.0.0.0", token="t")


async def test_another_address_than_loopback_speaks_tls_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("s3cret\n")
    async with AsyncLocalDps() as dps, AdminApi(dps, host="0.0.0.0", token="s3cret") as admin:
        assert admin.url == f"https://127.0.0.1:{admin.port}"
        given = ("--token-file", str(token))
        trusting = ("enroll", "--admin", admin.url, *given, "--ca", str(dps.ca_file), "list")
        assert await shell(*trusting) == (0, "", "")
        code, out, err = await shell("enroll", "--admin", admin.url, *given, "list")
        assert (code, out) == (Hop.TLS.exit_code + 40, "")
        assert "certificate" in err
        assert "s3cret" not in err
        clear = admin.url.replace("https:", "http:")
        assert (await shell("enroll", "--admin", clear, *given, "list"))[0] != 0
        far = ("enroll", "--admin", "http://192.0.2.1:8080", *given, "list")
        code, out, err = await shell(*far)
        assert (code, "in clear" in err) == (2, True)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /enrollments/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"GET /" + b"x" * 17000,
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example#@127.0.0.1\r\n\r\n",
        b"PUT /enrollments/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ],
    ids=["long URL", "bad header", "long head", "garbage", "bad host", "bad length"],
)
async def test_a_request_that_cannot_be_read_is_refused_in_one_line(
    sent: bytes, local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with script(local_dps) as it:
        reader, writer = await asyncio.open_connection(it.admin.host, it.admin.port)
        writer.write(sent)
        answered = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
    assert answered.split()[1] in (b"400", b"403")
    (record,) = [record for record in caplog.records if "admin" in record.getMessage()]
    assert record.exc_info is None
    assert "\n" not in record.getMessage()


async def test_a_refusal_is_one_line_in_the_log(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with script(local_dps) as it:
        await it.ask("GET", "/enrollments/none")
    (line,) = [line for line in caplog.messages if "404201" in line]
    assert "GET '/enrollments/none'" in line


async def test_a_taken_port_is_told(local_dps: AsyncLocalDps) -> None:
    async with script(local_dps) as it:
        with pytest.raises(PortTaken, match="cannot listen"):
            await AdminApi(it.dps, port=it.admin.port).start()


async def shell(*arguments: str, given: str = "") -> tuple[int, str, str]:
    done = await asyncio.to_thread(run, *arguments, stdin=given)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
async def test_the_shell_enrolls_and_orders_faults(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    async with script(local_dps) as it:
        admin = ("--admin", it.admin.url)
        code, key, error = await shell("enroll", *admin, "device", "by-shell")
        assert (code, error) == (0, "")
        assert (await it.register("by-shell", key.strip())).device_id == "by-shell"
        group = x509_world.group("fleet", DeviceAuthority.root())
        file = tmp_path / "fleet.json"
        file.write_text(json.dumps([group]))
        assert (await shell("enroll", *admin, "put", str(file)))[0] == 0
        listed = await shell("enroll", *admin, "list", "--groups")
        assert json.loads(listed[1])["enrollmentGroupId"] == "fleet"
        assert (await shell("enroll", *admin, "delete", "--group", "fleet"))[0] == 0
        code, _, error = await shell("enroll", *admin, "delete", "--group", "fleet")
        assert (code, "Enrollment not found" in error) == (41, True)
        order = ("answer", "--status", "429", "--device", "x", "--times", "0")
        assert (await shell("fault", *admin, *order))[0] == 0
        (standing,) = (await it.dps.faults.orders()).values()
        fault = standing.fault
        assert (fault.status, fault.device, fault.times) == (429, "x", None)
        code, out, _ = await shell("fault", *admin, "list")
        assert (code, json.loads(out)["status"]) == (0, 429)
        code, _, told = await shell("fault", *admin, "silence", "--status", "429")
        assert (code, "silence has no status" in told) == (2, True)
        assert (await shell("fault", *admin, "none"))[0] == 0
        assert await it.dps.faults.orders() == {}


@pytest.mark.slow
async def test_the_shell_keeps_the_key_of_a_device_and_lists_all_pages(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_api, "DEFAULT_PAGE", 2)
    async with script(local_dps) as it:
        admin = ("--admin", it.admin.url)
        for number in range(4):
            await it.dps.enroll_device(f"other-{number}")
        first = await shell("enroll", *admin, "device", "mine")
        assert await shell("enroll", *admin, "device", "mine") == first
        renewed = await shell("enroll", *admin, "device", "mine", "--new-key")
        assert renewed[0] == 0
        assert renewed[1] != first[1]
        assert (await it.register("mine", renewed[1].strip())).device_id == "mine"
        listed = await shell("enroll", *admin, "list")
        assert len(listed[1].splitlines()) == 5


async def test_the_shell_says_when_nobody_is_there() -> None:
    code, _, error = await shell("enroll", "--admin", "http://127.0.0.1:1", "list")
    assert code == Hop.TCP.exit_code
    assert "serve --admin-port" in error
    code, _, error = await shell("enroll", "--admin", "ftp://x", "list")
    assert code == 2


async def test_derive_key_prints_the_documented_key() -> None:
    group_key = (
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
    )
    name = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"
    arguments = ("derive-key", "--registration-id", name, "--key-file", "-")
    code, out, error = await shell(*arguments, given=group_key)
    assert (code, out, error) == (0, "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=\n", "")
    code, out, error = await shell(*arguments, given="not base64!")
    assert (code, out) == (41, "")
    assert "not base64" not in error or "the key is not base64" in error
