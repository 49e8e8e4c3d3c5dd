"""Members and sizes of DPS's JSON to the letter."""

import base64

import pytest

from mqttws.dps.attestation_json import pem_certificate
from mqttws.dps.certificates import Certificate
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.faults import Fault, Faults
from mqttws.dps.group_keys import GroupKeys
from mqttws.dps.issuance import MAX_CERTIFICATE, read_chain
from mqttws.dps.sas import decode_key
from mqttws.errors import MalformedAnswer, UsageError


def test_a_certificate_is_shown_as_the_service_api_has_it() -> None:
    certificate = Certificate(
        "ab" * 32, "cd" * 20, "d", "CN=d", "CN=ca", 1_800_000_000.0, 1_800_000_060.0, "0f"
    )
    assert certificate.to_json() == {
        "subjectName": "CN=d",
        "sha1Thumbprint": "CD" * 20,
        "sha256Thumbprint": "AB" * 32,
        "issuerName": "CN=ca",
        "notBeforeUtc": "2027-01-15T08:00:00Z",
        "notAfterUtc": "2027-01-15T08:01:00Z",
        "serialNumber": "0F",
        "version": 3,
    }


def test_a_certificate_in_pem_has_lines_of_64_characters() -> None:
    begin, *lines, end = pem_certificate(bytes(100)).splitlines()
    assert (begin, end) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    assert [len(line) for line in lines] == [64, 64, 8]
    assert base64.b64decode("".join(lines)) == bytes(100)


def test_a_tpm_need_not_have_a_storage_root_key() -> None:
    (enrollment,) = parse_enrollments(
        '{"registrationId":"d","attestation":{"type":"tpm","tpm":{"endorsementKey":"AAAA"}}}',
        "file",
    )
    assert enrollment.endorsement_key == "AAAA"
    assert enrollment.storage_root_key == ""


def test_a_certificate_in_an_answer_has_16_kib_at_most() -> None:
    largest = "A" * MAX_CERTIFICATE
    assert read_chain({"chain": [largest]}, "chain") == (base64.b64decode(largest),)
    with pytest.raises(MalformedAnswer, match="a text of 16388 characters"):
        read_chain({"chain": [largest + "AAAA"]}, "chain")


def test_an_order_that_does_not_stand_is_cancelled_in_vain() -> None:
    faults = Faults().order(Fault("delay"))
    assert list(faults.cancel(0).orders) == list(faults.cancel(2).orders) == [1]
    assert list(faults.cancel(1).orders) == list(faults.cancel().orders) == []


def test_the_keys_of_groups_are_not_shown() -> None:
    assert repr(GroupKeys([[b"k" * 32], [b"l" * 32]])) == "GroupKeys(2)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("HostName=h;DeviceId=d", "it is a connection string"),
        ("SharedAccessKey=AAAA", "it is a connection string"),
        ("SharedAccessSignature sr=a", "it is a SAS token"),
        ("-----BEGIN CERTIFICATE-----", "it is PEM"),
        ("A\0A\0", "it is UTF-16 text"),
        ("'AAAA'", "it stands in quotation marks"),
        ('"AAAA"', "it stands in quotation marks"),
        ("AAAA AAAA", "it is folded, or has blanks in it"),
        ("AA-_", "it is the form for URLs"),
        ("AAAAA", "its end is missing"),
    ],
)
def test_what_stands_in_a_keys_place_is_named(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=f": {told}"):
        decode_key(text)


@pytest.mark.parametrize("text", ["'AAAA", "AAAA'", "'A\"", "XA,X", "*"])
def test_what_cannot_be_named_is_not(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_key(text)
    assert str(caught.value) == "the key is not base64"
    assert caught.value.hint == "copy it whole, with the = at its end"
