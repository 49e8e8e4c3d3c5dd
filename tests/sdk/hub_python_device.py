"""Devices of a hub that use the official Python SDK; run as a program by ``hub_session``.

Reads a JSON object from standard input: CA file and cases. Each device connects, sends telemetry
with every property, and then does what the service asks by methods until it is told to quit.
"""

import json
import os
import sys
import threading
from pathlib import Path

from azure.iot.device import (
    X509,
    IoTHubDeviceClient,
    Message,
    MethodResponse,
    ProvisioningDeviceClient,
)


class Device:
    def __init__(self, order: dict, case: dict) -> None:
        self.case = case
        self.over = threading.Event()
        options = {
            "server_verification_cert": Path(order["ca_file"]).read_text(),
            "websockets": case["port"] == 443,
        }
        if case["dps"]:
            self.client = self.provision(order, options)
        elif "key_file" in case:
            x509 = X509(cert_file=case["chain_file"], key_file=case["key_file"])
            self.client = IoTHubDeviceClient.create_from_x509_certificate(
                x509, case["hub"], case["id"], gateway_hostname="localhost", **options
            )
        else:
            self.client = IoTHubDeviceClient.create_from_connection_string(
                case["connection_string"], sastoken_ttl=case["token_seconds"], **options
            )

    def provision(self, order: dict, options: dict) -> IoTHubDeviceClient:
        common = {
            "provisioning_host": "localhost",
            "registration_id": self.case["id"],
            "id_scope": order["id_scope"],
            **options,
        }
        gateway = {"gateway_hostname": "localhost", **options}
        if "key_file" in self.case:
            x509 = X509(cert_file=self.case["chain_file"], key_file=self.case["key_file"])
            found = ProvisioningDeviceClient.create_from_x509_certificate(
                x509=x509, **common
            ).register()
            state = found.registration_state
            return IoTHubDeviceClient.create_from_x509_certificate(
                x509, state.assigned_hub, state.device_id, **gateway
            )
        key = self.case["key"]
        found = ProvisioningDeviceClient.create_from_symmetric_key(
            symmetric_key=key, **common
        ).register()
        state = found.registration_state
        return IoTHubDeviceClient.create_from_symmetric_key(
            key,
            state.assigned_hub,
            state.device_id,
            sastoken_ttl=self.case["token_seconds"],
            **gateway,
        )

    def run(self) -> None:
        client = self.client
        client.on_method_request_received = self.on_method
        client.on_message_received = self.on_message
        client.on_twin_desired_properties_patch_received = self.on_patch
        client.connect()
        self.tell({"twin": client.get_twin()})
        message = Message(b"hello", content_encoding="utf-8", content_type="text/plain")
        message.message_id, message.correlation_id = "m:1", "c/2"
        message.user_id = "u 3"
        message.custom_properties = {"a b": "c=d&e", "ü": "/+%"}
        client.send_message(message)
        self.over.wait(100)
        client.shutdown()

    def tell(self, what: dict) -> None:
        self.client.send_message(json.dumps(what))

    def on_patch(self, patch: dict) -> None:
        self.tell({"patch": patch})

    def on_message(self, message: Message) -> None:
        self.tell(
            {
                "message": message.data.decode(),
                "properties": message.custom_properties,
                "id": message.message_id,
                "ack": message.ack,
            }
        )

    def on_method(self, request: object) -> None:
        status, answer = 200, request.payload
        if request.name == "report":
            self.client.patch_twin_reported_properties(request.payload)
        elif request.name == "twin":
            answer = self.client.get_twin()
        elif request.name == "fail":
            status = 418
        self.client.send_method_response(
            MethodResponse.create_from_method_request(request, status, answer)
        )
        if request.name == "quit":
            self.over.set()


def main() -> None:
    order = json.load(sys.stdin)
    devices = [
        threading.Thread(target=lambda case=case: Device(order, case).run(), daemon=True)
        for case in order["cases"]
    ]
    for device in devices:
        device.start()
    for device in devices:
        device.join(100)
    os._exit(0)


if __name__ == "__main__":
    main()
