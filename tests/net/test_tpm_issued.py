"""The recipe of docs/issued-certificates.md: a certificate issued for a key that a TPM holds."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from mqttws import AsyncLocalDps, AsyncLocalHub

from .test_tpm import OPENSSL_CONF, check_that_openssl_has_the_provider, openssl, resource_manager

PAGE = Path(__file__).parents[2] / "docs" / "issued-certificates.md"

DEVICE = """
import sys
import mqttws

ca_file, id_scope, port, key = sys.argv[1:]
tls = mqttws.TlsConfig(ca=ca_file, only_ca=True, minimum_version=ssl.TLSVersion.TLSv1_3)
way = {"host": "127.0.0.1", "port": int(port), "tls": tls}
store = mqttws.CertificateStore("device", key=TpmKey("tpm-key.pem"))
credential = mqttws.SymmetricKey("in-the-tpm", key)
assignment = mqttws.provision(id_scope, credential, issue=store, **way)
with assignment.hub_client(**way) as device:
    device.send_telemetry("from the TPM")
    device.renew_certificate()
    device.send_telemetry("renewed")
print(open("device/certificate.pem").read())
"""


def recipe() -> str:
    """Return the page's class for a key in a TPM."""
    found = re.search(r"```python\n(import ssl\n.*?class TpmKey.*?)```", PAGE.read_text(), re.S)
    assert found is not None
    return found[1]


async def test_a_certificate_is_issued_and_renewed_for_a_key_in_a_tpm(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    check_that_openssl_has_the_provider()
    with resource_manager(tmp_path) as environ:
        making = "genpkey -algorithm EC -pkeyopt group:P-256 -out tpm-key.pem"
        await asyncio.to_thread(openssl, making, tmp_path, environ)
        (tmp_path / "openssl.cnf").write_text(OPENSSL_CONF)
        (tmp_path / "device.py").write_text(recipe() + DEVICE)
        async with local_dps, AsyncLocalHub(local_dps) as hub:
            key = await local_dps.enroll_device("in-the-tpm", credential_policy="default")
            done = await asyncio.to_thread(
                subprocess.run,
                [
                    *(sys.executable, "device.py", str(local_dps.ca_file)),
                    *(local_dps.id_scope, str(local_dps.wss_port), key),
                ],
                cwd=tmp_path,
                env={
                    **environ,
                    "OPENSSL_CONF": str(tmp_path / "openssl.cnf"),
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            sent = [(await hub.next_telemetry(5)).payload for _ in range(2)]
    assert sent == [b"from the TPM", b"renewed"]
    assert "BEGIN CERTIFICATE" in done.stdout
    assert "PRIVATE KEY" not in done.stdout
