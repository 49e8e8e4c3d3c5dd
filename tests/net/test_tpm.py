"""A device whose key is in a TPM and never leaves it: swtpm, behind a resource manager."""

import asyncio
import datetime
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mqttws import AsyncLocalDps

from ..conftest import peer_missing, require_program
from ..local.x509_world import individual
from ..peers import programs
from ..ports import free_port
from ..raises_recorder import RECORDING

OPENSSL_CONF = """
openssl_conf = init
[init]
providers = providers
alg_section = algorithms
[providers]
default = default_provider
tpm2 = tpm2_provider
[default_provider]
activate = 1
[tpm2_provider]
activate = 1
[algorithms]
default_properties = ?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes
"""
"""The recipe in spec_notes.md: the key is used where it is, everything else stays in software."""

DEVICE = """
import ssl, sys
import mqttws
ca_file, id_scope, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain("device.pem", "tpm-key.pem")
credential = mqttws.ExternalKey("in-the-tpm")
options = {"host": "127.0.0.1", "port": int(port), "tls": context}
print(mqttws.provision(id_scope, credential, **options).device_id)
"""


def two_free_ports() -> int:
    """Return a port that is free, and so is the next: the TPM's commands and its control."""
    while True:
        port = free_port()
        try:
            with socket.create_server(("127.0.0.1", port + 1)):
                return port
        except (OSError, OverflowError):
            continue


@contextmanager
def resource_manager(place: Path) -> Iterator[dict[str, str]]:
    """Run a TPM and its resource manager on a bus of their own; yield what leads there."""
    swtpm, daemon = require_program("swtpm"), require_program("tpm2-abrmd")
    bus = require_program("dbus-daemon")
    port = two_free_ports()
    (place / "state").mkdir()
    server = [f"type=tcp,port={number},bindaddr=127.0.0.1" for number in (port, port + 1)]
    command = [swtpm, "socket", "--tpm2", "--tpmstate", f"dir={place}/state"]
    command += ["--server", server[0], "--ctrl", server[1]]
    command += ["--flags", "not-need-init,startup-clear"]
    with ExitStack() as stack:
        stack.enter_context(programs.running(command, port, place))
        address = f"unix:path={place}/bus"
        environ = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address}
        manager = [daemon, "--session", f"--tcti=swtpm:host=127.0.0.1,port={port}"]
        manager += ["--allow-root"] if os.geteuid() == 0 else []
        for line in ([bus, "--session", "--nofork", f"--address={address}"], manager):
            log = stack.enter_context((place / "manager.log").open("ab"))
            started = subprocess.Popen(line, env=environ, stdout=log, stderr=log)
            stack.callback(started.wait, 10)
            stack.callback(started.kill)
            deadline = time.monotonic() + 10
            while line[0] == bus and not (place / "bus").exists():
                assert time.monotonic() < deadline, (place / "manager.log").read_text()
                time.sleep(0.02)
        yield {**environ, "TPM2OPENSSL_TCTI": "tabrmd:bus_type=session"}


def openssl(words: str, place: Path, environ: dict[str, str]) -> None:
    """Run openssl with the TPM; it may have to wait for the resource manager."""
    command = [require_program("openssl"), *words.split()]
    command[2:2] = ["-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2"]
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(command, cwd=place, env=environ, capture_output=True, check=False)
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, done.stderr.decode()
        time.sleep(0.1)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate_for(public_pem: bytes) -> bytes:
    """Return the certificate that the device's maker gives it, PEM."""
    public = serialization.load_pem_public_key(public_pem)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name("in-the-tpm"))
        .issuer_name(name("maker of devices"))
        .public_key(public)
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def check_that_openssl_has_the_provider() -> None:
    command = [require_program("openssl"), "version"]
    system = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if not system.startswith(ssl.OPENSSL_VERSION):
        peer_missing("this Python has another OpenSSL than the system's, for which tpm2 is made")
    if not list(Path("/usr/lib").glob("*/ossl-modules/tpm2.so")):
        peer_missing("tpm2-openssl is not installed")


async def test_a_key_in_a_tpm_registers_a_device(local_dps: AsyncLocalDps, tmp_path: Path) -> None:
    check_that_openssl_has_the_provider()
    with resource_manager(tmp_path) as environ:
        making = "genpkey -algorithm EC -pkeyopt group:P-256 -out tpm-key.pem"
        await asyncio.to_thread(openssl, making, tmp_path, environ)
        await asyncio.to_thread(
            openssl, "pkey -in tpm-key.pem -pubout -out public.pem", tmp_path, environ
        )
        assert "TSS2 PRIVATE KEY" in (tmp_path / "tpm-key.pem").read_text()
        device = certificate_for((tmp_path / "public.pem").read_bytes())
        (tmp_path / "device.pem").write_bytes(device)
        (tmp_path / "openssl.cnf").write_text(OPENSSL_CONF)
        async with local_dps:
            await local_dps.enroll(individual("in-the-tpm", device))
            done = await asyncio.to_thread(
                subprocess.run,
                [
                    *(sys.executable, "-c", DEVICE, str(local_dps.ca_file)),
                    *(local_dps.id_scope, str(local_dps.wss_port)),
                ],
                cwd=tmp_path,
                env={
                    **environ,
                    "OPENSSL_CONF": str(tmp_path / "openssl.cnf"),
                    "PYTHONPATH": os.pathsep.join([RECORDING, *sys.path]),
                },
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
    assert done.stdout.strip() == "in-the-tpm", done.stderr
