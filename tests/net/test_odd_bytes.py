"""Bytes that no sound peer sends, and that fuzzing found to be mishandled."""

from typing import Any, cast

import pytest

from mqttws import Cause, UpgradeRefused, UsageError
from mqttws.local.x509 import fingerprint_of
from mqttws.net.certificate import describe_chain, parse_certificate
from mqttws.net.proxy import Login, Proxy
from mqttws.net.socks import Socks5Connect
from mqttws.net.upgrade import accept_websocket, open_websocket
from tests.fuzz.network import CERTIFICATE, Wire

VERSION_66 = CERTIFICATE.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020141"), 1)
NAME_OF_BITS = CERTIFICATE.replace(b"\x0c\x01r", b"\x03\x01r")


@pytest.mark.parametrize("request_line", ["GET /other HTTP/1.1", "GET /mqtt HTTP/1.1"])
async def test_a_request_with_no_frames_behind_it_is_answered_as_without_them(
    request_line: str,
) -> None:
    wire = Wire([f"{request_line}\r\nHost: h\r\n\r\n".encode() + b"MQ"])
    with pytest.raises(UpgradeRefused):
        await accept_websocket(cast(Any, wire), lambda path: path == "/mqtt", 4096)
    assert wire.sent.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("der", [VERSION_66, NAME_OF_BITS], ids=["version", "name"])
def test_a_certificate_that_cannot_be_read_is_a_value_error(der: bytes) -> None:
    assert der != CERTIFICATE
    with pytest.raises(ValueError, match="cannot be read"):
        parse_certificate(der)
    assert describe_chain([der]) == {}


def test_a_certificate_of_an_unknown_version_has_no_fingerprint() -> None:
    with pytest.raises(UsageError, match=r"no X\.509"):
        fingerprint_of(VERSION_66)


def test_a_login_is_sent_though_its_answer_came_before_it() -> None:
    login = Login("user", "password")
    dialogue = Socks5Connect(Proxy("socks5h", "proxy", 1080, "argument", login), "hub", 443)
    dialogue.data_to_send()
    dialogue.receive_data(b"\x05\x02\x01\x00")
    assert (
        dialogue.data_to_send() == b"\x01\x04user\x08password" + b"\x05\x01\x00\x03\x03hub\x01\xbb"
    )


async def test_a_redirection_to_an_address_that_cannot_be_read_is_a_refused_upgrade() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: https://portal]/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(UpgradeRefused) as caught:
        await open_websocket(cast(Any, Wire([answer])), "wss://hub.example/", 4096)
    assert caught.value.cause is Cause.UPGRADE_REFUSED
    assert "cannot be read" in str(caught.value.hint)
