"""Devices that register by hand with paho-mqtt 2; run as a program by ``session``.

Reads a JSON object from standard input: CA file, id scope and cases, each with its SAS token;
prints the topics and bodies of the answers.
"""

import json
import queue
import sys

import paho.mqtt
import paho.mqtt.client as mqtt

REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId="


def register(order: dict, case: dict) -> dict:
    happened: queue.Queue = queue.Queue()
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=case["id"],
        transport="websockets" if case["port"] == 443 else "tcp",
        protocol=mqtt.MQTTv311,
    )
    client.username_pw_set(
        f"{order['id_scope']}/registrations/{case['id']}/api-version=2019-03-31", case["password"]
    )
    client.tls_set(order["ca_file"])
    if case["port"] == 443:
        client.ws_set_options(path="/$iothub/websocket")
    client.on_connect = lambda *event: happened.put(("connect", event[3].value))
    client.on_subscribe = lambda *event: happened.put(("subscribe", event[3][0].value))
    client.on_message = lambda _, __, message: happened.put(
        ("message", [message.topic, json.loads(message.payload)])
    )
    client.connect("localhost", case["port"])
    client.loop_start()
    seen = [happened.get(timeout=20)]
    client.subscribe("$dps/registrations/res/#", qos=1)
    seen.append(happened.get(timeout=20))
    client.publish(REGISTER, b"", qos=1)
    seen.append(happened.get(timeout=20))
    operation_id = seen[-1][1][1].get("operationId")
    if operation_id:
        client.publish(POLL + operation_id, b" ", qos=1)
        seen.append(happened.get(timeout=20))
    client.disconnect()
    client.loop_stop()
    return {"version": paho.mqtt.__version__, "seen": seen}


def main() -> None:
    order = json.load(sys.stdin)
    print(json.dumps([register(order, case) for case in order["cases"]]))


if __name__ == "__main__":
    main()
