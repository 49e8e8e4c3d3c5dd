"""The admin API and the DPS service API of the local DPS, as an OpenAPI document.

Members of faults and of events come from the code's own types; the operations and the shape of an
enrollment are written here. tests/local/test_openapi.py compares them with the routes that are
served, with real answers, and with the published bodies of enrollments. Run as a program, it prints
the document.
"""

import json
import re
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import mqttws
from mqttws.dps.faults import Fault
from mqttws.dps.faults import Kind as FaultKind
from mqttws.local.dps_events import EventKind

Schema = dict[str, Any]

_JSON = "application/json"
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_RIGHTS = "x-mqttws-right"
"""The right that a policy must have for an operation, where a request is signed."""


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(name: str) -> Schema:
    """Return the schema of a list of components."""
    return {"type": "array", "items": ref(name)}


def made_of(text: str = "", **members: Any) -> Schema:
    """Return the schema of an object, its members with an underscore at the end required."""
    required = [name[:-1] for name in members if name.endswith("_")]
    found: Schema = {
        "type": "object",
        "properties": {name.removesuffix("_"): of for name, of in members.items()},
    }
    if required:
        found["required"] = required
    return found | ({"description": text} if text else {})


def text(description: str = "", **more: Any) -> Schema:
    """Return the schema of a text."""
    return {"type": "string"} | ({"description": description} if description else {}) | more


def _optional(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_FLAG = {"type": "boolean"}
_KEY = text("16 to 64 bytes, base64. PUT answers with it; GET and queries do not.")
_PAIR = made_of(
    "One or two certificates.", primary=ref("Certificate"), secondary=ref("Certificate")
)
_SHARED = {
    "attestation_": ref("Attestation"),
    "capabilities": _optional(made_of(iotEdge=_FLAG)),
    "iotHubHostName": _optional(text("The hub of static allocation.")),
    "iotHubs": _optional({"type": "array", "items": text()}),
    "initialTwin": _optional({"type": "object"}),
    "provisioningStatus": _optional({"enum": ["enabled", "disabled"]}),
    "reprovisionPolicy": _optional(made_of(updateHubAssignment=_FLAG, migrateDeviceData=_FLAG)),
    "allocationPolicy": _optional({"enum": ["hashed", "geoLatency", "static", "custom"]}),
    "customAllocationDefinition": _optional(made_of(webhookUrl_=text(), apiVersion=text())),
    "credentialPolicyName": _optional(text("A policy that issues certificates.")),
    "etag": _optional(text()),
    "createdDateTimeUtc": _optional(text()),
    "lastUpdatedDateTimeUtc": _optional(text()),
}


def fault() -> Schema:
    """Return the schema of an ordered fault, from the members of its class."""
    hints = get_type_hints(Fault)
    described = dict(
        re.findall(r"^ {4,8}(\w+): ((?:.|\n)+?)(?=\n +\w+: |\n\n|\Z)", Fault.__doc__ or "", re.M)
    )
    members: Schema = {}
    for known in fields(Fault):
        members[known.name] = _of_type(hints[known.name])
        members[known.name]["description"] = " ".join(described[known.name].split())
        if known.default is not MISSING and known.default is not None:
            members[known.name]["default"] = known.default
    return {
        "type": "object",
        "properties": members,
        "required": ["kind"],
        "additionalProperties": False,
    }


def _of_type(hint: Any) -> Schema:
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    kinds = get_args(hint) or (hint,)
    named = [kind for kind in kinds if get_origin(kind) is Literal]
    if named:
        return {"enum": [*get_args(named[0]), None]}
    types = [_TYPES[kind] for kind in kinds]
    return {"type": types if len(types) > 1 else types[0]}


SCHEMAS: dict[str, Schema] = {
    "IndividualEnrollment": made_of(
        "One device's enrollment. Members that are not known are kept.",
        registrationId=text("Absent in a body: the one of the path."),
        deviceId=_optional(text("The device's id at the hub; otherwise the registration id.")),
        registrationState=_optional(ref("Registration")),
        **_SHARED,
    ),
    "EnrollmentGroup": made_of(
        "The enrollment of all devices with a key derived from the group's, or with a certificate"
        " of its CA.",
        enrollmentGroupId=text("Absent in a body: the one of the path."),
        **_SHARED,
    ),
    "Attestation": made_of(
        "How a device proves what it is. With type alone a new enrollment gets fresh keys, and one"
        " that is there keeps its own.",
        type_={"enum": ["symmetricKey", "x509", "tpm"]},
        symmetricKey=_optional(made_of(primaryKey=_optional(_KEY), secondaryKey=_optional(_KEY))),
        x509=_optional(
            made_of(
                clientCertificates=_optional(_PAIR),
                signingCertificates=_optional(_PAIR),
                caReferences=_optional(
                    made_of(primary=_optional(text()), secondary=_optional(text()))
                ),
            )
        ),
        tpm=_optional(made_of(endorsementKey_=text(), storageRootKey=_optional(text()))),
    ),
    "Certificate": _optional(
        made_of(
            certificate=_optional(text("PEM, or the base64 of DER or of PEM.")),
            info=_optional({"type": "object"}),
        )
    ),
    "Registration": made_of(
        registrationId_=text(),
        status_={"const": "assigned"},
        assignedHub_=text(),
        deviceId_=text(),
        substatus_=text(),
        etag_=text(),
        createdDateTimeUtc_=text(),
        lastUpdatedDateTimeUtc_=text(),
        payload={},
        x509=made_of(enrollmentGroupId=text()),
        symmetricKey=made_of(enrollmentGroupId=text()),
    ),
    "Query": made_of(
        query_=text(
            "SELECT * FROM enrollments (or enrollmentGroups), SELECT * or *: all.",
            examples=["SELECT * FROM enrollments"],
        )
    ),
    "BulkResult": made_of(
        isSuccessful_=_FLAG,
        errors_={
            "type": "array",
            "items": made_of(
                registrationId=text(),
                enrollmentGroupId=text(),
                errorCode_={"type": "integer"},
                errorStatus_=text(),
            ),
        },
    ),
    "CaCertificate": made_of(
        id_=text(),
        name_=text(),
        type_=text(),
        etag_=text(),
        properties_=made_of(
            subject_=text(),
            expiry_=text(),
            thumbprint_=text(),
            isVerified_=_FLAG,
            created_=text(),
            updated_=text(),
            certificate_=text("Base64 of DER."),
        ),
    ),
    "CaUpload": made_of(certificate=text(), properties=made_of(certificate_=text())),
    "CaCertificates": made_of(value_=listed("CaCertificate")),
    "Fault": fault(),
    "OrderedFault": {
        "allOf": [
            {**{name: of for name, of in fault().items() if name != "additionalProperties"}},
            made_of(id_={"type": "integer"}),
        ]
    },
    "FaultNumber": made_of(id_={"type": "integer", "description": "For DELETE /faults/{number}."}),
    "Reset": made_of(devices_={"type": "integer", "description": "How many are forgotten."}),
    "Event": made_of(
        "Something that happened; which members there are depends on the kind, in `event`.",
        event_={"enum": list(get_args(EventKind))},
        registrationId=text("Absent where no device is known."),
        connection=text("Its name in the log, such as #1 wss 127.0.0.1:40000."),
        timeUtc_=text("ISO 8601."),
        sequenceNumber_={"type": "integer", "description": "For `after` and Last-Event-ID."},
        apiVersion=text("Of connected."),
        hop=text("Of refused and fault: the leg of the way."),
        reason=text("Of refused, request and disconnected, as in the log."),
        returnCode={"type": "integer", "description": "Of refused: CONNACK's."},
        errorCode={
            "type": "integer",
            "description": "Of request: 0 for none. Of refused: over HTTPS.",
        },
        request={"enum": ["register", "poll", "lookup"], "description": "Of request."},
        status={"type": "integer", "description": "Of request: the answer's."},
        fault={"enum": list(get_args(FaultKind)), "description": "Of fault: its kind."},
        assignedHub=text("Of assigned."),
        deviceId=text("Of assigned: the device's name at the hub."),
        substatus=text("Of assigned, such as initialAssignment."),
        change={"enum": ["put", "deleted"], "description": "Of enrollment."},
        id=text("Of enrollment: of the enrollment or group."),
    )
    | {"additionalProperties": False},
    "Error": made_of(
        errorCode_={
            "type": "integer",
            "description": "Six digits; the first three are the status.",
        },
        trackingId_=text(),
        message_=text(),
        timestampUtc_=text(),
    ),
}


def _bulk(kind: str, name: str) -> Schema:
    return made_of(
        mode_={"enum": ["create", "update", "updateIfMatchETag", "delete"]},
        **{f"{kind}_": {**listed(name), "minItems": 1, "maxItems": 10}},
    )


def _operations() -> dict[tuple[str, str], Schema]:
    """Return each operation by method and path: tag, right, summary, body, answer, status."""
    found: dict[tuple[str, str], Schema] = {}

    def add(tag: str, right: str, line: str, summary: str, **more: Any) -> None:
        method, path = line.split()
        found[method, path] = {"tag": tag, "right": right, "summary": summary, **more}

    for path, name, kind, label in (
        ("/enrollments", "IndividualEnrollment", "enrollments", "enrollment"),
        ("/enrollmentGroups", "EnrollmentGroup", "enrollmentGroups", "enrollment group"),
    ):
        one = f"{path}/{{id}}"
        read, write = "EnrollmentRead", "EnrollmentWrite"
        add(label, write, f"PUT {one}", f"Create an {label}, or replace it (If-Match: its etag).",
            body=ref(name), answer=ref(name))  # fmt: skip
        add(label, read, f"GET {one}", f"Return an {label}, without keys.", answer=ref(name))
        add(label, write, f"DELETE {one}", f"Delete an {label}; registrations stay.", status=204)
        add(label, write, f"POST {one}/attestationmechanism", "Return the attestation, with keys.",
            answer=ref("Attestation"))  # fmt: skip
        add(label, read, f"POST {path}/query", "Return all, without keys, page by page.",
            body=ref("Query"), answer=listed(name), pages=True)  # fmt: skip
        add(label, write, f"POST {path}", "Create, update or delete up to 10, each by itself.",
            body=_bulk(kind, name), answer=ref("BulkResult"))  # fmt: skip
    label = "registration"
    add(label, "RegistrationStatusRead", "GET /registrations/{id}", "Return a registration.",
        answer=ref("Registration"))  # fmt: skip
    add(label, "RegistrationStatusWrite", "DELETE /registrations/{id}", "Forget a registration.",
        status=204)  # fmt: skip
    add(label, "RegistrationStatusRead", "POST /registrations/{id}/query",
        "Return the registrations of the enrollment group {id}, page by page.",
        answer=listed("Registration"), pages=True)  # fmt: skip
    label, right = "CA certificate", "ServiceConfig"
    add(label, right, "PUT /certificates/{id}", "Upload a CA's certificate, to which groups refer.",
        body=ref("CaUpload"), answer=ref("CaCertificate"))  # fmt: skip
    add(label, right, "GET /certificates/{id}", "Return a CA's certificate.",
        answer=ref("CaCertificate"))  # fmt: skip
    add(
        label,
        right,
        "DELETE /certificates/{id}",
        "Delete one to which no group refers.",
        status=204,
    )
    add(label, right, "GET /certificates", "Return all CA certificates.",
        answer=ref("CaCertificates"))  # fmt: skip
    label = "admin"
    add(label, "", "GET /faults", "Return the ordered faults.", answer=listed("OrderedFault"))
    add(label, "", "POST /faults", "Order a fault.", body=ref("Fault"), answer=ref("FaultNumber"))
    add(label, "", "DELETE /faults", "Cancel every ordered fault.", status=204)
    add(label, "", "DELETE /faults/{number}", "Cancel one.", status=204)
    add(label, "", "POST /reset",
        "Forget devices and ordered faults, at the hubs too; enrollments stay.",
        answer=ref("Reset"))  # fmt: skip
    add(label, "", "GET /events", "Stream what the service sees, one JSON object in a line, or as"
        " server-sent events; from now on, or behind the number in `after` or Last-Event-ID.",
        answer=ref("Event"), media="application/x-ndjson", numbered=True)  # fmt: skip
    add(label, "", "GET /metrics", "Return figures for Prometheus (extra `metrics`; else 501).",
        answer=text(), media="text/plain")  # fmt: skip
    add("health", "", "GET /healthz", "Return 200 while the process lives; needs no token.",
        answer=text(), media="text/plain")  # fmt: skip
    add("health", "", "GET /readyz", "Return 200 while it can serve, else 503; needs no token.",
        answer=text(), media="text/plain")  # fmt: skip
    return found


OPERATIONS = _operations()


def _operation(method: str, path: str, of: Schema) -> Schema:
    status = str(of.get("status", 200))
    answer: Schema = {"description": of["summary"]}
    if "answer" in of:
        answer["content"] = {of.get("media", _JSON): {"schema": of["answer"]}}
    names = re.findall(r"\{(\w+)\}", path)
    parameters: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": text()} for name in names
    ]
    if of["right"]:
        parameters.append(
            {
                "name": "api-version",
                "in": "query",
                "description": "2021-10-01; must be there where a request is signed.",
                "schema": text(),
            }
        )
    if of.get("numbered"):
        for name, place in (("after", "query"), ("Last-Event-ID", "header")):
            parameters.append(
                {
                    "name": name,
                    "in": place,
                    "description": "Only events behind this number; 0: all that are kept.",
                    "schema": {"type": "integer", "minimum": 0},
                }
            )
        answer["content"]["text/event-stream"] = {"schema": text()}
    if of.get("pages"):
        for name, meaning in (
            ("x-ms-max-item-count", "Items of a page, 1 to 1000."),
            ("x-ms-continuation", "From the page before."),
        ):
            parameters.append(
                {"name": name, "in": "header", "description": meaning, "schema": text()}
            )
        answer["headers"] = {
            "x-ms-continuation": {"description": "Absent on the last page.", "schema": text()}
        }
    words = re.sub(r"\W+", " ", path).split()
    found: Schema = {
        "operationId": method.lower() + "".join(word[0].upper() + word[1:] for word in words),
        "tags": [of["tag"]],
        "summary": of["summary"],
        "parameters": parameters,
        "responses": {
            status: answer,
            "default": {
                "description": "It was refused.",
                "content": {_JSON: {"schema": ref("Error")}},
            },
        },
    }
    if "body" in of:
        found["requestBody"] = {"required": True, "content": {_JSON: {"schema": of["body"]}}}
    if of["tag"] == "health":
        found["security"] = []
    elif of["right"]:
        found[_RIGHTS] = of["right"]
    return found


def document() -> Schema:
    """Return the whole document."""
    paths: dict[str, Schema] = {}
    for (method, path), of in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mqttws: the admin API and the DPS service API of the local DPS",
            "version": mqttws.__version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": "http://127.0.0.1:8080", "description": "serve --admin-port 8080"},
            {
                "url": "https://127.0.0.1:8443",
                "description": "The WebSocket's port: enrollments, groups, registrations and CA"
                " certificates alone, with a shared access signature.",
            },
        ],
        "security": [{}, {"token": []}, {"signature": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The admin API's token; a loopback address may need none.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "SharedAccessSignature of a policy with the operation's right.",
                },
            },
        },
    }


def page() -> str:
    """Return the operations as Markdown."""
    parts: list[str] = []
    tag = ""
    for (method, path), of in OPERATIONS.items():
        if of["tag"] != tag:
            tag = of["tag"]
            parts += ["", f"## {tag[0].upper()}{tag[1:]}", ""]
            parts += ["| operation | what it does | right |", "| --- | --- | --- |"]
        parts.append(f"| `{method} {path}` | {of['summary']} | {of['right'] or ''} |")
    parts += ["", "## Bodies", ""]
    for name, schema in SCHEMAS.items():
        parts += [f"### {name}", "", "```json", json.dumps(schema, indent=2), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    print(json.dumps(document(), indent=2))
