"""A factory: devices of an enrollment group get their own keys, and register side by side."""

import base64
import secrets

import mqttws


def main() -> None:
    """Enroll a group, derive each device's key, register all of them, and print the results."""
    group_key = base64.b64encode(secrets.token_bytes(32)).decode()
    group = {
        "enrollmentGroupId": "pumps",
        "attestation": {
            "type": "symmetricKey",
            "symmetricKey": {"primaryKey": group_key, "secondaryKey": group_key},
        },
    }
    results: list[mqttws.FleetResult] = []
    with mqttws.LocalDps() as dps:
        dps.enroll(group)
        devices = [
            mqttws.SymmetricKey.from_group_key(f"pump-{number}", group_key) for number in range(10)
        ]
        mqttws.provision_fleet(
            dps.id_scope, devices, results.append, concurrency=5, jitter=0, **dps.options
        )
    for result in sorted(results, key=lambda each: each.registration_id):
        found = result.assignment.assigned_hub if result.assignment else result.error
        print(f"{result.registration_id:<8} {found}")


if __name__ == "__main__":
    main()
