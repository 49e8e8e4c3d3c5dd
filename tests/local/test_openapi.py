"""The OpenAPI document of the documentation, against the routes and real answers."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mqttws import AsyncLocalDps

from .test_admin import KEYED, Script, script
from .test_enrollment_bodies import GIVEN, ROWS, filled

AdminApi = pytest.importorskip("mqttws.local.admin").AdminApi
ServiceApi = pytest.importorskip("mqttws.local.service_api").ServiceApi

SOURCE = Path(__file__).parents[2] / "docs" / "_site" / "openapi.py"


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("openapi_of_the_site", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


OPENAPI = loaded()
DOCUMENT = OPENAPI.document()


def validate(value: object, schema: dict[str, Any]) -> None:
    """Assert that a value fits a schema of the document."""
    whole = {"components": DOCUMENT["components"], **schema}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def test_every_route_is_in_the_document_and_no_other() -> None:
    dps = AsyncLocalDps()
    served = {
        (method, "/" + re.sub(r"\*", "{}", path)): route.right
        for (method, path), route in ServiceApi(dps)._routes.items()
    }
    application = AdminApi(dps)._application()
    for route in application.router.routes():
        path = re.sub(r"\{\w+\}", "{}", route.resource.canonical)
        if route.method != "HEAD" and path != "/{}":  # that one is the service API
            served["GET" if route.method == "*" else route.method, path] = ""
    described = {
        (method, re.sub(r"\{\w+\}", "{}", path).lower()): of["right"]
        for (method, path), of in OPENAPI.OPERATIONS.items()
    }
    assert described == served


def test_the_document_is_whole() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert referred == set(schemas)
    ids = [of["operationId"] for path in DOCUMENT["paths"].values() for of in path.values()]
    assert len(ids) == len(set(ids)) == len(OPENAPI.OPERATIONS)


SERVED = [row for row in ROWS if "refused" not in row]


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row["source"][:60])
def test_published_bodies_fit_the_document(row: dict[str, Any]) -> None:
    group = "enrollmentGroupId" in row["body"]
    name = "EnrollmentGroup" if group else "IndividualEnrollment"
    validate(filled(row["body"]), OPENAPI.ref(name))


async def answered(asks: Script, line: str, body: object = None, **headers: str) -> Any:
    """Ask; assert that the answer is as the document says; return its body."""
    method, path = line.split()
    parts = path.strip("/").split("/")
    found = await asks.ask(method, path, body, headers)
    for (known, template), of in OPENAPI.OPERATIONS.items():
        names = template.strip("/").split("/")
        fits = len(names) == len(parts) and all(
            name == part or name.startswith("{") for name, part in zip(names, parts, strict=True)
        )
        if known == method and fits:
            if found.status >= 400:
                validate(found.body, OPENAPI.ref("Error"))
                assert found.body["errorCode"] // 1000 == found.status
                return found.body
            assert found.status == of.get("status", 200), line
            if body is not None:
                validate(body, of["body"])
            if "answer" in of:
                validate(found.body, of["answer"])
            else:
                assert found.body is None
            return found.body
    raise AssertionError(f"{line}: not in the document")


async def test_real_answers_fit_the_document(dps_state: Path) -> None:
    async with script(AsyncLocalDps(state=dps_state, retry_after=0)) as asks:
        made = await answered(asks, "PUT /enrollments/dev", KEYED)
        key = made["attestation"]["symmetricKey"]["primaryKey"]
        await asks.register("dev", key)
        await answered(asks, "GET /enrollments/dev")
        await answered(asks, "POST /enrollments/dev/attestationmechanism")
        assert await answered(asks, "POST /enrollments/query", {"query": "*"})
        await answered(asks, "GET /enrollments/nobody")
        await answered(asks, "PUT /enrollments/dev", KEYED)  # 409
        await answered(asks, "GET /registrations/dev")
        bulk = {"mode": "create", "enrollments": [{"registrationId": "two", **KEYED}]}
        for successful in (True, False):
            result = await answered(asks, "POST /enrollments", bulk)
            assert result["isSuccessful"] is successful
        ca = {"certificate": GIVEN["@CA@"]}
        await answered(asks, "PUT /certificates/root", ca)
        await answered(asks, "GET /certificates/root")
        await answered(asks, "GET /certificates")
        refers = {"type": "x509", "x509": {"caReferences": {"primary": "root"}}}
        await answered(asks, "PUT /enrollmentGroups/of-root", {"attestation": refers})
        await answered(asks, "PUT /enrollmentGroups/pumps", KEYED)
        await answered(asks, "GET /enrollmentGroups/pumps")
        await answered(asks, "POST /enrollmentGroups/pumps/attestationmechanism")
        assert await answered(asks, "POST /enrollmentGroups/query", {"query": "SELECT *"})
        await answered(asks, "POST /registrations/pumps/query")
        order = {"kind": "answer", "device": "dev", "status": 429, "retry_after": 2}
        number = (await answered(asks, "POST /faults", order))["id"]
        assert await answered(asks, "GET /faults")
        await answered(asks, "POST /faults", {"kind": "no-such-fault"})
        await answered(asks, f"DELETE /faults/{number}")
        await answered(asks, "DELETE /faults")
        for event in asks.dps.seen():
            validate(event.to_json(), OPENAPI.ref("Event"))
        assert {event.kind for event in asks.dps.seen()} >= {"connected", "request", "assigned"}
        await answered(asks, "DELETE /registrations/dev")
        await answered(asks, "DELETE /enrollments/two")
        await answered(asks, "DELETE /enrollmentGroups/of-root")
        await answered(asks, "DELETE /certificates/root")
        await answered(asks, "POST /reset")
