"""A device of the official Python SDK; reads a JSON object, prints ``assigned`` or the error."""

import json
import os
import sys
from urllib.parse import urlsplit

from azure.iot.device import ProvisioningDeviceClient, ProxyOptions


def main() -> None:
    order = json.load(sys.stdin)
    options = {}
    proxy = order["proxy"] or os.environ.get("MQTTWS_PROXY") or os.environ.get("https_proxy") or ""
    if proxy and proxy != "none":
        parts = urlsplit(proxy)
        options["proxy_options"] = ProxyOptions(
            proxy_type={"http": "HTTP", "socks5": "SOCKS5", "socks5h": "SOCKS5"}.get(
                parts.scheme, "HTTP"
            ),
            proxy_addr=parts.hostname,
            proxy_port=parts.port,
            proxy_username=parts.username,
            proxy_password=parts.password,
        )
    client = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=order["host"],
        registration_id="my-device",
        id_scope=order["id_scope"],
        symmetric_key=order["key"],
        websockets=order["websockets"],
        server_verification_cert=order["ca"],
        **options,
    )
    try:
        result = client.register()
    except BaseException as error:  # it is what is being compared
        cause = error.__cause__ or error
        print(f"{type(error).__name__}: {type(cause).__name__}: {cause}"[:200], flush=True)
    else:
        print(result.status, flush=True)
    os._exit(0)  # after an error the SDK keeps its connection and threads


if __name__ == "__main__":
    main()
