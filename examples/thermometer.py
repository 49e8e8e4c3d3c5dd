"""A thermometer: it registers, sends telemetry, answers a method and follows its twin.

With ID_SCOPE, REGISTRATION_ID and MQTTWS_KEY in the environment it is a device of the cloud;
without them it runs against a local DPS and hub for a few seconds.
"""

import os
import time

import mqttws


def run(
    assignment: mqttws.Assignment, credential: mqttws.SymmetricKey, count: int, **way: object
) -> None:
    """Send ``count`` messages; the twin's desired ``interval`` says how many seconds apart."""
    client = assignment.hub_client(credential, **way)  # type: ignore[arg-type]
    interval = 0.1

    @client.method("identify")
    def identify(request: mqttws.MethodRequest) -> dict[str, str]:
        return {"device": assignment.device_id}

    with client:
        interval = float(client.twin().desired.get("interval", interval))
        client.patch_reported({"interval": interval})
        for number in range(count):
            client.send_telemetry({"temperature": 20 + number / 10})
            time.sleep(interval)


def main() -> None:
    """Run in the cloud, or here."""
    if "ID_SCOPE" in os.environ:
        credential = mqttws.SymmetricKey(os.environ["REGISTRATION_ID"], os.environ["MQTTWS_KEY"])
        assignment = mqttws.provision(os.environ["ID_SCOPE"], credential, wait_for_network=True)
        run(assignment, credential, count=1_000_000)
        return
    with mqttws.LocalDps() as dps, mqttws.LocalHub(dps) as hub:
        credential = mqttws.SymmetricKey("thermometer", dps.enroll_device("thermometer"))
        assignment = mqttws.provision(dps.id_scope, credential, **dps.options)
        run(assignment, credential, count=3, **dps.options)
        for _ in range(3):
            print(hub.next_telemetry().payload.decode())
        print("reported:", hub.twin("thermometer")["properties"]["reported"]["interval"])


if __name__ == "__main__":
    main()
