import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.dps.attestation_json import pem_certificate
from mqttws.dps.enrollment_json import enrollment_to_json, parse_enrollments
from mqttws.dps.records import (
    EnrollmentGroup,
    IndividualEnrollment,
    ReprovisionPolicy,
)
from mqttws.dps.tables import GROUPS, INDIVIDUALS
from mqttws.errors import UsageError

from .world import HUB, KEY, OTHER_KEY, b64, group, individual

KEYS = {"primaryKey": b64(KEY), "secondaryKey": b64(OTHER_KEY)}
SMALL = {
    "registrationId": "dev-01",
    "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": b64(KEY)}},
}
WHOLE = {
    "registrationId": "dev-01",
    "deviceId": "Device-1",
    "attestation": {"type": "symmetricKey", "symmetricKey": KEYS, "x509": None, "tpm": None},
    "capabilities": {"iotEdge": True},
    "iotHubHostName": HUB,
    "iotHubs": [HUB, "other-hub.azure-devices.net"],
    "initialTwin": {"tags": {"a": 1}, "properties": {"desired": {"b": 2}}},
    "provisioningStatus": "disabled",
    "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
    "allocationPolicy": "static",
    "etag": "e",
    "createdDateTimeUtc": "2026-11-22T19:00:00Z",
    "lastUpdatedDateTimeUtc": "2026-11-22T19:00:01Z",
    "registrationState": {"status": "unassigned"},
}


def parse(*records):
    return parse_enrollments(json.dumps(records), "fleet.json")


def faulty(path, value):
    """Return a whole record in which the member at ``path`` has another value."""
    record = json.loads(json.dumps(WHOLE))
    *parents, name = path
    place = record
    for parent in parents:
        place = place[parent]
    place[name] = value
    return record


def refusal(*records) -> str:
    with pytest.raises(UsageError) as caught:
        parse(*records)
    text = f"{caught.value}"
    assert text.startswith("fleet.json: ")
    assert b64(KEY) not in text
    assert b64(OTHER_KEY) not in text
    return text


def test_a_whole_individual_record_is_read():
    assert parse(WHOLE) == [
        IndividualEnrollment(
            "dev-01",
            "Device-1",
            primary_key=KEY,
            secondary_key=OTHER_KEY,
            iot_edge=True,
            iot_hub_host_name=HUB,
            iot_hubs=(HUB, "other-hub.azure-devices.net"),
            initial_twin={"tags": {"a": 1}, "properties": {"desired": {"b": 2}}},
            provisioning_status="disabled",
            reprovision_policy=ReprovisionPolicy(True, False),
            allocation_policy="static",
            etag="e",
            created="2026-11-22T19:00:00Z",
            last_updated="2026-11-22T19:00:01Z",
        )
    ]


def test_what_a_record_leaves_out_has_its_default():
    (enrollment,) = parse(SMALL)
    assert enrollment == individual()
    assert enrollment.keys == (KEY,)
    assert enrollment.provisioning_status == "enabled"
    assert enrollment.hubs == ()
    (empty,) = parse(SMALL | {"capabilities": {}, "reprovisionPolicy": {}})
    assert empty == individual(reprovision_policy=ReprovisionPolicy(True, True))
    nulled = dict.fromkeys(WHOLE) | SMALL
    assert parse(nulled) == [enrollment]


def test_a_group_is_told_by_its_id():
    record = {"enrollmentGroupId": "grp-1", "attestation": SMALL["attestation"]}
    assert parse(record) == [group()]


def test_an_individual_and_a_group_may_share_an_id():
    record = {"enrollmentGroupId": "dev-01", "attestation": SMALL["attestation"]}
    assert parse(SMALL, record) == [individual(), group("dev-01")]


@pytest.mark.parametrize("enrollment", [individual(), group(), *parse(WHOLE)])
def test_a_record_survives_the_round_trip(enrollment):
    assert parse(enrollment_to_json(enrollment)) == [enrollment]


@pytest.mark.rule("DPS-B-key/service", "DPS-B-enrollments/service")
@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["registrationId"], "dev/01", "[0].registrationId: '/'"),
        (["registrationId"], 5, "[0].registrationId: found a number; expected an id"),
        (["deviceId"], "", "[0].deviceId: found a string; expected a device id"),
        (["registrationID"], "x", "[0].registrationID: unknown; expected one of"),
        (["attestation"], None, "[0].attestation: missing; expected an object"),
        (["attestation", "type"], None, "[0].attestation.type: missing; expected"),
        (
            ["attestation", "type"],
            "x509",
            "[0].attestation.symmetricKey: the type is x509; expected null",
        ),
        (["attestation", "type"], "none", "[0].attestation.type: found a string; expected one of"),
        (["attestation", "symmetricKey"], "k", "[0].attestation.symmetricKey: found a string"),
        (
            ["attestation", "symmetricKey", "primaryKey"],
            None,
            "[0].attestation.symmetricKey.primaryKey: missing; expected a key of 16 to 64 bytes",
        ),
        (
            ["attestation", "symmetricKey", "primaryKey"],
            b64(KEY)[:-1],
            "[0].attestation.symmetricKey.primaryKey: the key is not base64: its end",
        ),
        (
            ["attestation", "symmetricKey", "secondaryKey"],
            "AAAA",
            "[0].attestation.symmetricKey.secondaryKey: a key of 3 bytes",
        ),
        (
            ["attestation", "symmetricKey", "primarykey"],
            "x",
            "[0].attestation.symmetricKey.primarykey: unknown; expected one of primaryKey",
        ),
        (["capabilities"], True, "[0].capabilities: found true or false; expected an object"),
        (["capabilities", "iotEdge"], "yes", "[0].capabilities.iotEdge: found a string"),
        (["iotHubHostName"], [], "[0].iotHubHostName: found a list; expected a host name"),
        (["iotHubHostName"], "a b\n", "[0].iotHubHostName: found a string; expected a host name"),
        (["iotHubs"], ["a/b"], "[0].iotHubs[0]: found a string; expected a host name"),
        (["deviceId"], "a/b", "[0].deviceId: found a string; expected a device id: 1 to 128"),
        (["deviceId"], "d" * 129, "[0].deviceId: found a string; expected a device id"),
        (["deviceId"], "\u0159", "[0].deviceId: found a string; expected a device id"),
        (["iotHubs"], HUB, "[0].iotHubs: found a string; expected a list"),
        (["iotHubs"], [HUB, 5], "[0].iotHubs[1]: found a number; expected a host name"),
        (["initialTwin"], "x", "[0].initialTwin: found a string; expected an object with tags"),
        (["reprovisionPolicy"], [], "[0].reprovisionPolicy: found a list; expected an object"),
        (["initialTwin"], {"Tags": {}}, "[0].initialTwin.Tags: unknown; expected one of"),
        (["provisioningStatus"], "off", "[0].provisioningStatus: found a string; expected enabled"),
        (["provisioningStatus"], [], "[0].provisioningStatus: found a list; expected enabled"),
        (
            ["reprovisionPolicy", "updateHubAssignment"],
            1,
            "[0].reprovisionPolicy.updateHubAssignment: found a number; expected true or false",
        ),
        (
            ["allocationPolicy"],
            "custom",
            "[0].customAllocationDefinition: missing; expected an object",
        ),
        (["allocationPolicy"], "random", "[0].allocationPolicy: found a string; expected hashed"),
        (["customAllocationDefinition"], {}, "[0].customAllocationDefinition: only custom"),
        (["etag"], 5, "[0].etag: found a number; expected text"),
        (["enrollmentGroupId"], "g", "[0]: expected either registrationId or enrollmentGroupId"),
    ],
)
def test_a_fault_names_its_place_and_what_was_expected(path, value, expected):
    assert expected in refusal(faulty(path, value))


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h/", "http://", "http:///x", "https://h:99999/", "http://[::1/", "http://h/a b",
     "http://h/\r\nX: y", "http://h:0/", "h/x"],
)  # fmt: skip
def test_a_webhook_that_cannot_be_called_is_refused(url):
    record = faulty(["allocationPolicy"], "custom")
    record["customAllocationDefinition"] = {"webhookUrl": url}
    assert "[0].customAllocationDefinition.webhookUrl: found" in refusal(record)
    record["customAllocationDefinition"] = {"webhookUrl": "https://[::1]:8443/allocate?code=x"}
    (read,) = parse(record)
    assert read.webhook_url == "https://[::1]:8443/allocate?code=x"


@pytest.mark.parametrize(
    "allocation",
    [
        {"allocation_policy": "hashed"},
        {"allocation_policy": "geoLatency"},
        {"allocation_policy": "static"},
        {"allocation_policy": "custom", "webhook_url": "http://h:1/x"},
        {"allocation_policy": "custom", "webhook_url": "https://h",
         "webhook_api_version": "2019-03-31"},
    ],
)  # fmt: skip
def test_every_allocation_policy_survives_the_round_trip(allocation):
    for enrollment in (individual(**allocation), group(**allocation)):
        assert parse(enrollment_to_json(enrollment)) == [enrollment]


def test_a_record_without_an_id_is_refused():
    assert "[1]: expected either" in refusal(SMALL, {"attestation": SMALL["attestation"]})


def test_records_that_are_no_objects_are_refused():
    assert "[0]: found a number; expected an enrollment" in refusal(5)
    with pytest.raises(UsageError, match=r"^f: expected either registrationId or "):
        parse_enrollments("{}", "f")


def test_a_list_an_object_and_a_page_of_a_query_are_read_alike():
    one = json.dumps(SMALL)
    for text in (f"[{one}]", one, f'{{"value": [{one}]}}'):
        assert parse_enrollments(text, "f") == parse(SMALL)


def test_an_export_has_enrollments_and_groups():
    of = {"enrollmentGroupId": "grp-1", "attestation": SMALL["attestation"]}
    for whole, expected in (
        ({"enrollments": [SMALL], "enrollmentGroups": [of]}, [individual(), group()]),
        ({"enrollments": [SMALL], "enrollmentGroups": None}, [individual()]),
        ({"enrollmentGroups": [of]}, [group()]),
        ({"enrollments": []}, []),
    ):
        assert parse_enrollments(json.dumps(whole), "f") == expected
    for name in ("value", "enrollments", "enrollmentGroups"):
        with pytest.raises(UsageError, match=f"^f: {name}: found a number; expected a list of en"):
            parse_enrollments(json.dumps({name: 5}), "f")


def test_members_that_are_null_count_as_missing_and_unknown_ones_are_kept():
    newer = {"namespaceName": "p", "optionalDeviceInformation": {"a": [1]}}
    (read,) = parse({"earlier": None} | SMALL | newer | {"later": None})
    assert read.other == newer
    written = enrollment_to_json(read)
    assert {name: written[name] for name in newer} == newer
    assert "later" not in written
    assert parse(written) == [read]


def test_a_certificate_may_be_base64_of_der_or_have_text_before_it():
    pem = pem_certificate(b"any bytes" * 30)
    bare = "".join(pem.split("\n")[1:-2])
    one_line = pem.replace("\n", "")
    wrapped = b64(pem.encode())
    for text in (
        pem,
        bare,
        one_line,
        wrapped,
        "Bag Attributes\n    x: 1\n" + pem,
        pem.replace("\n", "\r\n"),
    ):
        record = SMALL | {
            "attestation": {
                "type": "x509",
                "x509": {
                    "clientCertificates": {"primary": {"certificate": text, "info": {}}},
                    "signingCertificates": None,
                    "caReferences": None,
                },
            }
        }
        (read,) = parse(record)
        assert read.certificates == (b"any bytes" * 30,)


def test_a_group_refers_to_cas_by_name():
    x509 = {
        "caReferences": {"primary": "root", "secondary": "next.root"},
        "clientCertificates": None,
    }
    record = {"enrollmentGroupId": "g", "attestation": {"type": "x509", "x509": x509}}
    (read,) = parse(record)
    assert (read.ca_references, read.certificates) == (("root", "next.root"), ())
    found = replace(read, primary_certificate=b"der" * 9)
    assert enrollment_to_json(found)["attestation"]["x509"] == {
        "caReferences": {"primary": "root", "secondary": "next.root"}
    }
    assert parse(enrollment_to_json(found, with_cas=True)) == [found]


def test_a_tpm_is_kept():
    tpm = {"endorsementKey": b64(KEY), "storageRootKey": b64(KEY)}
    (read,) = parse(SMALL | {"attestation": {"type": "tpm", "tpm": tpm, "symmetricKey": None}})
    assert enrollment_to_json(read)["attestation"] == {"type": "tpm", "tpm": tpm}
    assert b64(KEY) not in repr(read)


CERTIFIED = {"primary": {"certificate": pem_certificate(b"der" * 9)}}


@pytest.mark.parametrize(
    ("name", "attestation", "expected"),
    [
        ("d", {"type": "x509", "x509": {"caReferences": {"primary": "r"}}}, "only groups refer"),
        ("d", {"type": "x509", "x509": {"signingCertificates": CERTIFIED}}, "expected client"),
        ("g", {"type": "x509", "x509": {"clientCertificates": CERTIFIED}}, "expected signing"),
        ("g", {"type": "x509", "x509": {"caReferences": {"primary": "a/b"}}}, "1 to 64 letters"),
        ("g", {"type": "x509", "x509": {"caReferences": {}}}, "primary: missing"),
        ("g", {"type": "x509", "x509": {"caReferences": {"primary": "r"},
                                        "signingCertificates": CERTIFIED}}, "expected either"),
        ("g", {"type": "tpm", "tpm": {"endorsementKey": "AAAA"}}, "attests one device"),
        ("d", {"type": "tpm", "tpm": {"endorsementKey": "no base64"}}, "found a string; expected"),
        ("d", {"type": "tpm"}, "tpm: missing"),
        ("d", {"type": "symmetricKey"}, "symmetricKey: missing: an export has the keys only where"),
        ("d", {"type": "symmetricKey", "symmetricKey": KEYS, "x509": {}}, "x509: the type is symm"),
        ("d", {"type": "symmetricKey", "symmetricKey": KEYS, "tpm": {}}, "tpm: the type is symm"),
        ("d", {"type": "x509"}, "x509: missing; expected an object with clientCertificates"),
        ("g", {"type": "x509"}, "x509: missing; expected an object with signingCertificates"),
        ("d", {"type": "x509", "x509": {}}, "clientCertificates: missing; expected an object with"),
        ("d", {"type": "x509", "x509": {"clientCertificates": "PEM"}},
         "clientCertificates: found a string; expected an object with primary"),
        ("d", {"type": "x509", "x509": {"clientCertificates": {}}},
         "clientCertificates.primary: missing; expected an object with certificate"),
        ("d", {"type": "x509", "x509": {"clientCertificates": {"primary": "PEM"}}},
         "clientCertificates.primary: found a string; expected an object with certificate"),
        ("g", {"type": "x509", "x509": {"caReferences": ["r"]}},
         "caReferences: found a list; expected an object with primary"),
    ],
)  # fmt: skip
def test_an_attestation_of_the_wrong_kind_is_refused(name, attestation, expected):
    member = "registrationId" if name == "d" else "enrollmentGroupId"
    assert expected in refusal({member: name, "attestation": attestation})


PEM = pem_certificate(b"der" * 9)


@pytest.mark.parametrize(
    "text",
    [" ", "\n", "no base64!", "-----BEGIN CERTIFICATE-----", PEM[:-30], PEM + PEM, f"{PEM}x",
     "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", PEM.replace("Z", "*"),
     b64(b"-----BEGIN PRIVATE KEY-----"), b64(PEM.encode() + b"\xff"), b64(PEM[:-30].encode())],
)  # fmt: skip
def test_what_is_no_certificate_is_refused(text):
    """Of an empty one no row could be read back."""
    certificates = {"primary": {"certificate": text}}
    attestation = {"type": "x509", "x509": {"clientCertificates": certificates}}
    assert "expected one certificate in PEM form" in refusal(SMALL | {"attestation": attestation})


CERTIFICATES = [
    {"primary_certificate": b"first"},
    {"secondary_certificate": b"second"},
    {"primary_certificate": b"first", "secondary_certificate": b"second"},
]


@pytest.mark.parametrize("certificates", CERTIFICATES)
@pytest.mark.parametrize(
    ("make", "place"), [(individual, "clientCertificates"), (group, "signingCertificates")]
)
def test_one_certificate_or_two_survive_the_round_trip(make, place, certificates):
    enrollment = make(primary_key=b"", **certificates)
    written = enrollment_to_json(enrollment)
    assert parse(written) == [enrollment]
    assert written["attestation"]["type"] == "x509"
    held = {
        f"{name}_certificate": pem["certificate"]
        for name, pem in written["attestation"]["x509"][place].items()
    }
    assert held == {name: pem_certificate(der) for name, der in certificates.items()}


def test_references_to_cas_survive_the_round_trip_without_their_certificates():
    for names in (("root",), ("root", "next"), ("", "next")):
        enrollment = group(primary_key=b"", ca_references=names)
        assert parse(enrollment_to_json(enrollment, with_cas=True)) == [enrollment]


def test_unknown_members_are_kept_at_any_depth():
    record = SMALL | {
        "later": 1,
        "initialTwin": {"tags": {"Tags": 1}, "later": 2},
        "attestation": {**SMALL["attestation"], "newer": {"a": 1}},
    }
    (read,) = parse(record)
    assert read.other == {
        "later": 1,
        "initialTwin": {"later": 2},
        "attestation": {"newer": {"a": 1}},
    }
    written = enrollment_to_json(read)
    assert written["attestation"]["newer"] == {"a": 1}
    assert written["initialTwin"] == record["initialTwin"]
    assert parse(written) == [read]


def test_an_id_that_is_there_twice_is_refused_whatever_its_case():
    second = SMALL | {"registrationId": "DEV-01"}
    assert "[1].registrationId: 'DEV-01' is there twice" in refusal(SMALL, second)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[\n  oops]", "line 2, column 3: not JSON"), ("", "line 1, column 1"),
     (f'[\n{{"primaryKey": "{b64(KEY)}" x}}]', "line 2, column"), ("[NaN]", "NaN is not JSON"),
     ("[" * 100_000, "nested too deep")],
)  # fmt: skip
def test_malformed_json_is_refused_with_line_and_column(text, expected):
    with pytest.raises(UsageError) as caught:
        parse_enrollments(text, "fleet.json")
    assert str(caught.value).startswith("fleet.json: ")
    assert expected in str(caught.value)
    assert b64(KEY) not in str(caught.value)
    assert caught.value.__context__ is None  # it would hold the text, keys and all


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text() | st.sampled_from([*sorted(WHOLE), "type", "symmetricKey"]), inner),
))  # fmt: skip
def test_any_json_is_read_or_refused(value):
    fault = "f: [1]"
    try:
        parse_enrollments(json.dumps([SMALL, value]), "f")
    except UsageError as error:
        fault = str(error)
    assert fault.startswith("f: [1]")


def places(value, path=()):
    """Yield the path of each member, at any depth."""
    for name, inner in value.items():
        yield (*path, name)
        if isinstance(inner, dict):
            yield from places(inner, (*path, name))


BY_CERTIFICATE = {"primary": {"certificate": PEM}, "secondary": {"certificate": PEM, "info": {}}}
OF_EACH_KIND = [
    WHOLE,
    {"registrationId": "d", "attestation": {"type": "x509", "x509": {
        "clientCertificates": BY_CERTIFICATE}}},
    {"enrollmentGroupId": "g", "attestation": {"type": "x509", "x509": {
        "signingCertificates": BY_CERTIFICATE}}},
    {"enrollmentGroupId": "g", "attestation": {"type": "x509", "x509": {
        "caReferences": {"primary": "a", "secondary": "b"}, "caCertificates": BY_CERTIFICATE}}},
    {"registrationId": "d", "attestation": {"type": "tpm", "tpm": {
        "endorsementKey": "AAAA", "storageRootKey": "AAAA"}}},
]  # fmt: skip
VALUES = [None, "", " ", "x", "=", "a b", 0, 1, True, 1.5, [], [""], ["h"], {}, {"later": [1]},
          {"primary": None}, {"primary": {"certificate": " "}}, "custom", "\u0159", b64(KEY),
          PEM]  # fmt: skip


def test_whatever_is_read_can_be_kept_and_read_back():
    """A row that no one can read again would take an enrollment away from its device."""
    count = 0
    for record in OF_EACH_KIND:
        for path in places(record):
            for value in VALUES:
                changed = json.loads(json.dumps(record))
                place = changed
                for name in path[:-1]:
                    place = place[name]
                place[path[-1]] = value
                try:
                    (enrollment,) = parse(changed)
                except UsageError:
                    continue
                table = INDIVIDUALS if isinstance(enrollment, IndividualEnrollment) else GROUPS
                assert table.decode(table.encode(enrollment)) == enrollment
                count += 1
    assert count > 300


def test_keys_are_in_no_repr():
    (enrollment,) = parse(WHOLE)
    for shown in (repr(enrollment), repr(group()), str(individual())):
        assert "primary_key" not in shown
        assert "secondary_key" not in shown
        assert repr(KEY) not in shown


def test_a_group_and_an_individual_are_not_the_same():
    assert isinstance(group(), EnrollmentGroup)
    assert individual() != group()
