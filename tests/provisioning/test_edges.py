"""Credentials and assignments as values: copied, shown, pickled or not, and compared."""

import copy
import pickle
import time
from pathlib import Path

import pytest

from mqttws import Assignment, Client, HubClient, SymmetricKey, UsageError, X509Certificate
from mqttws.provisioning.conversation import Conversation
from mqttws.provisioning.issued import FILE, CertificateStore
from mqttws.provisioning.pending import PendingCertificate
from mqttws.provisioning.x509 import ExternalKey

from .test_hints import device_certificate

KEY = SymmetricKey("dev", "MDEyMzQ1Njc4OWFiY2RlZg==")
PLACE = Assignment("hub.example", "dev-1", "initialAssignment", "dev", "op", {"a": [1]})


def test_a_certificate_cannot_be_changed_and_is_its_own_copy() -> None:
    certificate, _ = device_certificate()
    for name in ("registration_id", "other"):
        with pytest.raises(AttributeError, match=f"immutable: {name}"):
            setattr(certificate, name, "x")
        with pytest.raises(AttributeError, match=f"immutable: {name}"):
            delattr(certificate, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(certificate, protocol)
    assert copy.copy(certificate) is copy.deepcopy(certificate) is certificate
    assert isinstance(certificate, X509Certificate)
    assert certificate.digest("scope") == f"x509:{certificate.fingerprint}"
    assert certificate.password("scope", time.time()) is None  # type: ignore[func-returns-value]
    assert {certificate: 1}[certificate] == 1
    assert hash(certificate) != hash(device_certificate()[0])


def test_a_key_in_hardware_is_known_by_its_name() -> None:
    key = ExternalKey("dev")
    assert key.digest("scope") == "prepared:dev"
    assert key.password("scope", 0.0) is None  # type: ignore[func-returns-value]


def test_an_empty_certificate_store_has_a_place_and_nothing_to_show(tmp_path: Path) -> None:
    store = CertificateStore(tmp_path)
    assert store.file == tmp_path / FILE
    assert store.password("scope", 0.0) is None  # type: ignore[func-returns-value]
    for wanted in (lambda: store.digest("scope"), lambda: store.registration_id):
        with pytest.raises(UsageError, match="certificate"):
            wanted()


def test_a_request_shows_its_name_alone() -> None:
    pending = PendingCertificate("dev", b"the request", lambda *_: None)  # type: ignore[arg-type, return-value]
    assert repr(pending) == "PendingCertificate('dev')"


def test_an_assignment_takes_no_credential_along() -> None:
    held = PLACE._holding(KEY)
    assert held == PLACE
    for again in (pickle.loads(pickle.dumps(held)), copy.copy(held), copy.deepcopy(held)):
        assert again == PLACE
        assert again.payload == {"a": [1]}
        with pytest.raises(UsageError, match="none is held"):
            again.client()


def test_an_assignment_makes_clients() -> None:
    assert isinstance(PLACE._holding(KEY).client(), Client)
    assert isinstance(PLACE.hub_client(KEY), HubClient)


def test_a_registration_stores_nothing_on_the_way() -> None:
    assert Conversation.take_steps(object.__new__(Conversation)) == []
