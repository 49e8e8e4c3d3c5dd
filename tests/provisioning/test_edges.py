"""Credentials and assignments as values: copied, shown, pickled or not, and compared."""

import copy
import pickle
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqttws import Assignment, Client, HubClient, SymmetricKey, UsageError, X509Certificate
from mqttws.provisioning.cache import AssignmentFile
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


class Password:
    """A credential that can speak to DPS alone."""

    registration_id = "dev"

    def password(self, id_scope: str, unix_now: float) -> str:
        return "secret"


def arguments(monkeypatch: pytest.MonkeyPatch, *positional: Any, **options: Any) -> dict[str, Any]:
    """Return what the client of an assignment is made with."""
    monkeypatch.setattr("mqttws.client.sync.Client", lambda **made: made)
    return PLACE.client(*positional, **options)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "wss://hub.example/$iothub/websocket"),
        ({"port": 1443}, "wss://hub.example:1443/$iothub/websocket"),
        ({"host": "edge"}, "wss://edge/$iothub/websocket"),
        ({"host": "::1", "port": 1443}, "wss://[::1]:1443/$iothub/websocket"),
        ({"transport": "mqtts"}, "mqtts://hub.example"),
        ({"transport": "mqtts", "host": "::1", "port": 1}, "mqtts://[::1]:1"),
    ],
)
def test_a_client_goes_to_the_assigned_hub_or_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], url: str
) -> None:
    made = arguments(monkeypatch, KEY, **options)
    assert made["url"] == url
    assert made["client_id"] == "dev-1"
    assert made["username"] == "hub.example/dev-1/?api-version=2021-04-12"
    assert made["clean_session"] is False, "messages wait at the hub meanwhile"


def test_a_clients_password_is_a_token_for_its_device_at_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.5)
    made = arguments(monkeypatch, KEY, token_lifetime=60)
    assert made["password"]() == KEY.sign("hub.example/devices/dev-1", 1060)


def test_a_certificate_is_shown_in_the_handshake_and_needs_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = arguments(monkeypatch, device_certificate()[0])
    assert made["password"] is None
    assert isinstance(made["tls"], ssl.SSLContext)


def test_a_hub_is_shown_a_credential_that_it_can_check() -> None:
    with pytest.raises(UsageError, match="Password cannot be shown to a hub") as caught:
        PLACE.client(Password())
    assert "SymmetricKey" in caught.value.hint
    for make in (PLACE.client, PLACE.hub_client):
        with pytest.raises(UsageError, match=r"^credential: found None.*none is held"):
            make()


def test_a_credential_without_a_digest_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Password has no digest\(\)"):
        AssignmentFile(tmp_path / "a.json", "host", "0ne", Password())


def test_an_assignment_has_names_that_can_be_used() -> None:
    for hub, device, wrong in (
        ("hub/..", "dev", "assignedHub"),
        ("hub", "a b", "deviceId"),
        (1, "dev", "assigned_hub: found 1"),
        ("hub", "dev", ""),
    ):
        if wrong:
            with pytest.raises(UsageError, match=wrong):
                Assignment(hub, device, "", "", "")  # type: ignore[arg-type]
        else:
            Assignment(hub, device, "", "", "")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="etag"):
        replace(PLACE, etag=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="credential"):
        PLACE._holding("key")  # type: ignore[arg-type]


def test_a_registration_stores_nothing_on_the_way() -> None:
    assert Conversation.take_steps(object.__new__(Conversation)) == []
