"""Trust that is given, capped and weakened: versions, anchors, contexts of the caller's own."""

import ssl
import warnings

import pytest

from mqttws import TlsConfig, UsageError
from mqttws.net.handshake import Handshake, proved_chain, shown_chain
from mqttws.net.tls import client_context, default_roots, tls_at_most_1_2, weakness_of

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def test_tls_can_be_capped_at_1_2() -> None:
    capped = TlsConfig(maximum_version=TLS_1_2)
    assert capped.context().maximum_version is TLS_1_2
    assert TlsConfig().context().maximum_version is not TLS_1_2
    assert capped.context() is not TlsConfig().context()
    assert tls_at_most_1_2(None) == capped
    assert tls_at_most_1_2(capped) is None
    assert tls_at_most_1_2(TlsConfig(minimum_version=TLS_1_3)) is None
    assert tls_at_most_1_2(ssl.create_default_context()) is None


@pytest.mark.parametrize(
    "options",
    [
        {"maximum_version": ssl.TLSVersion.TLSv1_1},
        {"maximum_version": TLS_1_2, "minimum_version": TLS_1_3},
        {"maximum_version": "1.2"},
    ],
)
def test_a_cap_that_leaves_nothing_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="maximum_version"):
        TlsConfig(**options).context()  # type: ignore[arg-type]


def test_a_given_ca_is_an_anchor_on_every_python() -> None:
    flags = TlsConfig().context().verify_flags
    assert flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not flags & ssl.VERIFY_X509_STRICT


def test_a_weak_context_of_the_callers_warns_and_a_good_one_does_not() -> None:
    nobody_checked = ssl.create_default_context()
    nobody_checked.check_hostname = False
    assert "name" in weakness_of(nobody_checked)
    nobody_checked.verify_mode = ssl.CERT_NONE
    assert "certificate" in weakness_of(nobody_checked)
    old = ssl.create_default_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.minimum_version = ssl.TLSVersion.TLSv1
    assert "below 1.2" in weakness_of(old)
    for weak in (nobody_checked, old):
        with pytest.warns(UserWarning, match="the SSLContext that was given"):
            assert client_context(weak) is weak
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client_context(ssl.create_default_context())
        client_context(TlsConfig())


def test_a_handshake_that_never_began_has_no_chain() -> None:
    handshake = Handshake(ssl.create_default_context())
    assert handshake.made is None
    made = handshake.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a.test")
    assert handshake.made is made
    assert shown_chain(made) == []
    assert proved_chain(made) == []


def test_the_systems_roots_do_not_depend_on_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    before = default_roots()
    monkeypatch.setenv("SSL_CERT_FILE", "/missing.pem")
    assert default_roots() == before
