"""The whole surface of the released azure-iot-deviceprovisioning, used against a service.

Run as a program by service_session.py with a Python that has the package. Standard input: the
connection string, certificates, and how a device registers. Prints each step's outcome.
"""

import json
import subprocess
import sys
from pathlib import Path

from azure.core.exceptions import HttpResponseError
from azure.iot.deviceprovisioning import DeviceProvisioningClient, generate_sas_token

order = json.load(sys.stdin)
client = DeviceProvisioningClient.from_connection_string(order["connection_string"])
steps = {}


def refused(work, *arguments, **options):
    """Return status and error code of a call that must fail."""
    try:
        work(*arguments, **options)
    except HttpResponseError as error:
        return [error.status_code, json.loads(error.response.text())["errorCode"]]
    return "it was let through"


def register(name, *credential):
    command = [*order["provision"], *credential]
    if "--key-file" in credential:
        command += ["--registration-id", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = json.loads(done.stdout)
    return found["status"] if found["status"] == "assigned" else found


def key_file(name, key):
    file = Path(order["folder"]) / f"{name}.key"
    file.write_text(key)
    return ("--key-file", str(file))


# Individual enrollments: symmetric keys
individual = client.enrollment
made = individual.create_or_update(
    "Py-Keys", {"registrationId": "py-keys", "attestation": {"type": "symmetricKey"}}
)
key = made["attestation"]["symmetricKey"]["primaryKey"]
steps["made"] = sorted(made)
got = individual.get("py-keys")
steps["got"] = [got["attestation"], got["etag"] == made["etag"]]
steps["mechanism"] = individual.get_attestation_mechanism("py-keys") == made["attestation"]
steps["registered"] = register("py-keys", *key_file("py-keys", key))
got["deviceId"] = "py-device"
changed = individual.create_or_update("py-keys", got, if_match=got["etag"])
steps["keys stay"] = changed["attestation"] == made["attestation"]
steps["stale etag"] = refused(individual.create_or_update, "py-keys", got, if_match=made["etag"])
steps["no etag"] = refused(individual.create_or_update, "py-keys", got)
steps["none"] = refused(individual.get, "none")
steps["state"] = client.device_registration_state.get("py-keys")["status"]
steps["bad delete"] = refused(individual.delete, "py-keys", if_match="other")
steps["state in the enrollment"] = individual.get("py-keys")["registrationState"]["assignedHub"]

# X.509 and TPM
x509 = {"clientCertificates": {"primary": {"certificate": order["leaf"]}}}
individual.create_or_update(
    "py-leaf",
    {"registrationId": "py-leaf", "attestation": {"type": "x509", "x509": x509}},
)
found = individual.get("py-leaf")["attestation"]["x509"]["clientCertificates"]["primary"]
steps["leaf"] = sorted(found["info"])
credential = ("--cert", order["leaf_file"], "--cert-key", order["leaf_key_file"])
steps["leaf registered"] = register("py-leaf", *credential)
tpm = {"type": "tpm", "tpm": {"endorsementKey": "RUsx"}}
individual.create_or_update("py-tpm", {"registrationId": "py-tpm", "attestation": tpm})
steps["tpm"] = individual.get_attestation_mechanism("py-tpm")
steps["tpm refused"] = register("py-tpm", *key_file("py-tpm", key))

# Pages and bulk
many = [
    {"registrationId": f"py-{number}", "attestation": {"type": "symmetricKey"}}
    for number in range(7)
]
bulk = {"mode": "create", "enrollments": many}
steps["bulk"] = individual.run_bulk_operation(bulk)
steps["bulk again"] = [
    error["errorCode"] for error in individual.run_bulk_operation(bulk)["errors"]
]
pages = [
    [each["registrationId"] for each in page]
    for page in individual.query({"query": "SELECT *"}, top=3).by_page()
]
steps["pages"] = [len(page) for page in pages]
steps["queried"] = sorted(name for page in pages for name in page)
steps["bulk delete"] = individual.run_bulk_operation({"mode": "delete", "enrollments": many})

# Groups
groups = client.enrollment_group
signing = {"signingCertificates": {"primary": {"certificate": order["root"]}}}
groups.create_or_update(
    "py-group",
    {"enrollmentGroupId": "py-group", "attestation": {"type": "x509", "x509": signing}},
)
credential = ("--cert", order["member_file"], "--cert-key", order["member_key_file"])
steps["member registered"] = register("member", *credential)
states = client.device_registration_state
steps["group's states"] = [of["registrationId"] for of in states.query("py-group")]
group = groups.get("py-group")
steps["group"] = sorted(group["attestation"]["x509"])
keyed = {"enrollmentGroupId": "py-keyed", "attestation": {"type": "symmetricKey"}}
made = groups.create_or_update("py-keyed", keyed)
steps["group's keys"] = groups.get_attestation_mechanism("py-keyed") == made["attestation"]
bulk = {"mode": "updateIfMatchETag", "enrollmentGroups": [groups.get("py-keyed")]}
steps["group bulk"] = groups.run_bulk_operation(bulk)["isSuccessful"]
references = {"caReferences": {"primary": "uploaded"}}
refers = {"enrollmentGroupId": "py-refers", "attestation": {"type": "x509", "x509": references}}
groups.create_or_update("py-refers", refers)
steps["references"] = groups.get("py-refers")["attestation"]["x509"]
credential = ("--cert", order["referred_file"], "--cert-key", order["referred_key_file"])
steps["referred registered"] = register("referred", *credential)
steps["groups"] = sorted(of["enrollmentGroupId"] for of in groups.query({"query": "*"}))
groups.delete("py-group", if_match=group["etag"])
references = {"caReferences": {"primary": "nowhere"}}
steps["unknown CA"] = refused(
    groups.create_or_update,
    "py-nowhere",
    {"enrollmentGroupId": "py-nowhere", "attestation": {"type": "x509", "x509": references}},
)

# Registration states and the end
states.delete("py-keys")
steps["state deleted"] = refused(states.get, "py-keys")
individual.delete("py-keys")
steps["deleted"] = refused(individual.get, "py-keys")
steps["token"] = generate_sas_token("host", "policy", "a2V5").startswith("SharedAccessSignature ")
print(json.dumps(steps))
