"""Hostile and odd input ends in a refusal and one log line; strangers harm nobody."""

import asyncio
import contextlib
import datetime
import json
import resource
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed

from mqttws import AsyncLocalDps
from mqttws.local import certificates
from mqttws.local import device as device_module
from mqttws.local.x509 import DeviceAuthority
from mqttws.wire import ConnAck, PingReq, PingResp, Publish

from . import x509_world
from .device import device, hello, register, wish
from .test_durability import KEY, keyed
from .test_service import closed_by_service, provisioned, ready


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level("INFO")
    yield
    text = "\n".join(record.getMessage() for record in caplog.records if not record.exc_info)
    assert not [record for record in caplog.records if record.exc_info], text


async def answered(peer: Any) -> tuple[str, Any]:
    answer = await peer.receive()
    assert isinstance(answer, Publish)
    return answer.topic.split("/")[3], json.loads(answer.payload)


# Bodies


@pytest.mark.parametrize(
    "body",
    [b'{"payload":1e999}', b'{"payload":-1e999}', b'{"payload":' + b"[" * 600 + b"]" * 600 + b"}"],
)
@pytest.mark.parametrize("policy", ["hashed", "custom"])
async def test_a_payload_that_no_reader_could_take_is_400(
    local_dps: AsyncLocalDps, body: bytes, policy: str
) -> None:
    custom = {"webhookUrl": "http://127.0.0.1:9/"}
    members: dict[str, Any] = {"allocationPolicy": policy}
    if policy == "custom":
        members["customAllocationDefinition"] = custom
    async with local_dps as dps:
        await dps.enroll(keyed("dev", **members))
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(body, qos=0))
            status, answer = await answered(peer)
            assert (status, answer["errorCode"]) == ("400", 400004)
            await peer.send(PingReq())
            assert await peer.receive() == PingResp()


@pytest.mark.parametrize(
    "payload", [b"[" * 600 + b"]" * 600, b"1e999", b"[" * 90_000 + b"]" * 90_000]
)
async def test_a_webhook_that_answers_nonsense_fails_the_operation(
    local_dps: AsyncLocalDps, payload: bytes
) -> None:
    body = b'{"iotHubHostName":"local-hub.azure-devices.net","payload":' + payload + b"}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        custom = {"allocationPolicy": "custom", "customAllocationDefinition": {"webhookUrl": url}}
        async with local_dps as dps:
            await dps.enroll(keyed("dev", **custom))
            with pytest.raises(Exception, match=r"40020[07]|failed") as failed:
                await provisioned(dps, KEY, timeout=15)
            assert "failed" in str(failed.value)


async def test_an_operation_whose_webhook_never_answers_ends(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that asked may have died: a later poll ends it, by the store's clock."""
    from mqttws.dps import allocation
    from mqttws.dps.topics import poll_topic

    monkeypatch.setattr(allocation, "ALLOCATION_TIMEOUT", 0.0)
    monkeypatch.setattr(local_dps.front, "request_allocation", lambda request: None)
    url = {"webhookUrl": "http://127.0.0.1:9/"}
    async with local_dps as dps:
        await dps.enroll(keyed("dev", allocationPolicy="custom", customAllocationDefinition=url))
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(qos=0))
            _, body = await answered(peer)
            await peer.send(register(topic=poll_topic("1", body["operationId"]), qos=0))
            status, body = await answered(peer)
            assert (status, body["status"]) == ("200", "failed")


async def test_a_fault_of_ours_costs_one_answer_and_no_connection(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_dps as dps:
        await dps.enroll(keyed("dev"))
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            with monkeypatch.context() as broken:
                broken.setattr(dps.service, "serve", lambda *_: 1 / 0)
                await peer.send(register(qos=0))
                status, body = await answered(peer)
            assert (status, body["errorCode"]) == ("500", 500000)
            await peer.send(register(qos=0))
            assert (await answered(peer))[0] == "202"
    assert caplog.text.count("internal error: ZeroDivisionError") == 1


# Certificates


def odd_certificate(authority: DeviceAuthority, damage: str) -> tuple[bytes, bytes]:
    """Return a leaf and its key, PEM: OpenSSL reads it, ``cryptography`` does not."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor")]))
        .issuer_name(authority._certificate.subject)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(authority._key, hashes.SHA256())
    )
    tbs = made.tbs_certificate_bytes
    if damage == "version":
        assert tbs.count(b"\xa0\x03\x02\x01\x02") == 1
        tbs = tbs.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06")
    else:  # month 13
        until = made.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
        assert tbs.count(until) == 1
        tbs = tbs.replace(until, until[:2] + b"13" + until[4:])
    signature = authority._key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    bits = b"\x03" + length(len(signature) + 1) + b"\x00" + signature
    inner = tbs + algorithm + bits
    der = b"\x30" + length(len(inner)) + inner
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return pem, key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def length(count: int) -> bytes:
    if count < 128:
        return bytes([count])
    body = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(body)]) + body


@pytest.mark.parametrize("damage", ["version", "month"])
async def test_a_certificate_that_openssl_reads_and_we_do_not_is_refused(
    local_dps: AsyncLocalDps, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = DeviceAuthority.root()
    chain, key = odd_certificate(root, damage)
    (tmp_path / "chain").write_bytes(chain)
    (tmp_path / "key").write_bytes(key)
    async with local_dps as dps:
        await dps.enroll(x509_world.group("fleet", root))
        context = ssl.create_default_context(cafile=str(dps.ca_file))
        context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", dps.mqtts_port, ssl=context, server_hostname="localhost"
        )
        from mqttws.wire import encode

        for packet in (hello(dps, "sensor", KEY, password=None), wish(), register(qos=0)):
            writer.write(encode(packet))
        data = b""
        while b"401002" not in data:
            received = await reader.read(4096)
            assert received, data
            data += received
        writer.transport.abort()
        await provisioned(dps, await dps.enroll_device("dev"))
    assert "the certificate cannot be read" in caplog.text


@pytest.mark.parametrize("what", ["a server's certificate", "old protocol"])
async def test_a_failed_handshake_ends_in_an_alert(
    local_dps: AsyncLocalDps, what: str, tmp_path: Path
) -> None:
    """RFC 8446 section 6.2: a bare end would look like a broken network."""
    async with local_dps as dps:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(dps.ca_file))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if what == "old protocol":
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1_1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        else:
            now = datetime.datetime.now(datetime.UTC)
            shown, key = certificates.make_server_certificate(
                *certificates.make_ca(now), ["localhost"], now
            )
            (tmp_path / "chain").write_bytes(certificates.certificate_pem(shown))
            (tmp_path / "key").write_bytes(certificates.key_pem(key))
            context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", dps.mqtts_port)

        async def shake_hands() -> None:
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return client.do_handshake()
                writer.write(outgoing.read())
                data = await reader.read(65536)
                assert data, "the connection ended without an alert"
                incoming.write(data)

        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await shake_hands()
        writer.transport.abort()


# Strangers


async def test_a_stranger_does_not_disconnect_a_device_that_has_proved_its_identity(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        await dps.enroll(keyed("dev"))
        async with device(dps) as peer, device(dps) as stranger:
            await ready(dps, peer, KEY)
            await peer.send(register(qos=0))
            assert (await answered(peer))[0] == "202"
            await stranger.send(hello(dps, "dev", KEY, password=None), wish())
            assert await stranger.receive() == ConnAck(False, 0)
            await stranger.receive()
            await stranger.send(register(qos=0))
            assert (await answered(stranger))[0] == "401"
            await peer.send(PingReq())
            assert await peer.receive() == PingResp()
            async with device(dps) as again:  # the device itself, over a new connection
                await ready(dps, again, KEY)
                await again.send(register(qos=0))
                assert (await answered(again))[0] == "202"
                await closed_by_service(peer)


async def test_a_client_that_proves_nothing_is_let_go_and_one_that_has_stays(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "AUTHENTICATION_TIMEOUT", 0.3)
    async with local_dps as dps:
        await dps.enroll(keyed("dev"))
        async with device(dps) as peer, device(dps) as stranger:
            await ready(dps, peer, KEY, keep_alive=0)
            await peer.send(register(qos=0))
            assert (await answered(peer))[0] == "202"
            await stranger.send(hello(dps, "other", KEY, password=None, keep_alive=0))
            await closed_by_service(stranger)
            await peer.send(PingReq())
            assert await peer.receive() == PingResp()


async def test_a_flood_of_requests_ends_the_flooder_alone(local_dps: AsyncLocalDps) -> None:
    """No more than a few wait for their turn, and not for ever unacknowledged."""
    async with local_dps as dps:
        await dps.enroll(keyed("dev"))
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            with contextlib.suppress(ConnectionClosed):
                await peer.send(*(register(qos=0) for _ in range(2000)))
            await closed_by_service(peer)
        await provisioned(dps, KEY)


async def test_running_out_of_descriptors_is_one_line_and_passes(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240 - not a real disk
        idle: list[tuple[Any, Any]] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, hard))
        try:
            with contextlib.suppress(OSError):  # this process runs out of them too
                for _ in range(100):
                    idle.append(await asyncio.open_connection("127.0.0.1", dps.mqtts_port))
            await asyncio.sleep(1.2)  # two pauses of the listener
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _, writer in idle:
                writer.transport.abort()
        await provisioned(dps, key)
    told = [line for line in caplog.messages if "no new connection can be accepted" in line]
    assert len(told) <= 1
    assert len(caplog.records) < 200
