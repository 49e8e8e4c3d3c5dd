"""Members and sizes of DPS's JSON to the letter."""

import base64

from mqttws.dps.attestation_json import pem_certificate
from mqttws.dps.certificates import Certificate
from mqttws.dps.enrollment_json import parse_enrollments


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
    assert enrollment.endorsement_key == "AAAA"  # type: ignore[union-attr]
    assert enrollment.storage_root_key == ""  # type: ignore[union-attr]
