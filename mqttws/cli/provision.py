"""``mqttws provision``: one device registers with DPS and learns its hub.

Knows the options. What happens then is ``mqttws.provision``.
"""

import sys
from typing import Literal

import click

import mqttws

from ..dps.answers import timestamp
from ..options import PROVISION
from .common import check_host, credential_options, debug_option, json_option, read_credential
from .exits import Command, describe_exit_codes
from .files import read_json
from .network import proxy_options, trust_options
from .output import (
    STEP_HEADER,
    Progress,
    print_assignment,
    print_json,
    print_line,
    reported,
    success,
)
from .table import option


def _check_path(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    plain = value.isascii() and value.isprintable() and not any(c in " #\\" for c in value)
    if not value.startswith("/") or not plain:
        raise click.BadParameter("allowed: one that begins with /, percent-encoded")
    return value


_EPILOG = f"""\b
Secrets: no option takes a key, for other users could see it in the list of
processes. The key comes from
  --key-file FILE   a file that only its owner can read
  --key-file -      standard input; a terminal does not show what is typed
  MQTTWS_KEY        the environment, if there is no --key-file
The password of a certificate's encrypted private key comes from
  --cert-key-password-file FILE, or - for standard input
  MQTTWS_KEY_PASSWORD
Neither is ever shown, by no option.

\b
Examples:
  A device with its own key:
    mqttws provision --id-scope 0ne00ABCDEF --registration-id my-device \\
        --key-file my-device.key
  A device of a group, the key from a password store, the hub into a script:
    pass show dps/group | mqttws provision --id-scope 0ne00ABCDEF \\
        --registration-id my-device --group-key --key-file - --json \\
        | jq -r .assigned_hub
  A device with a certificate:
    mqttws provision --id-scope 0ne00ABCDEF --cert chain.pem --cert-key my.key
  A device that gets a certificate for its hub:
    mqttws provision --id-scope 0ne00ABCDEF --registration-id my-device \\
        --key-file my-device.key --issue-certificate ./my-device
  Against `mqttws serve` on this machine:
    mqttws provision --id-scope 0ne00LOCAL --registration-id my-device \\
        --key-file my-device.key --host 127.0.0.1 --ca DIR/ca.pem --trace

\b
With --json, one object on standard output:
  status  "assigned": assigned_hub, device_id, substatus, registration_id,
            operation_id, payload, created, last_updated, etag, steps; with
            --issue-certificate: certificate {{file, expires}}
          "error": error (its class), message, hint, hop, cause, party,
            retryable, exit_code, facts, steps
  steps   list of {{hop, outcome, detail, started_ms, took_ms, error}}

{describe_exit_codes(*mqttws.Hop, code_0="assigned")}
\b
Environment:
  MQTTWS_KEY     the key, if there is no --key-file
  MQTTWS_KEY_PASSWORD  of the private key, if there is no file for it
  MQTTWS_PROXY   a proxy's URL, with its login; then wss_proxy, https_proxy
                 and all_proxy count; no_proxy says who needs none
  SSL_CERT_FILE  a PEM file with CA certificates, in place of the system's
  NO_COLOR       if set, nothing is coloured
"""


@click.command(cls=Command, epilog=_EPILOG)
@option(
    "--id-scope",
    PROVISION,
    "id_scope",
    metavar="SCOPE",
    note="Such as 0ne00ABCDEF (portal: Overview).",
)
@credential_options
@option("--host", PROVISION, "host", metavar="NAME", callback=check_host)
@option("--port", PROVISION, "port", metavar="N")
@option("--path", PROVISION, "path", metavar="PATH", callback=_check_path)
@option("--transport", PROVISION, "transport", note="auto: whichever is open.")
@proxy_options
@trust_options
@click.option(
    "--payload",
    metavar="FILE",
    help="JSON file for the enrollment's custom allocation; - for standard input.",
)
@click.option(
    "--issue-certificate",
    "issue",
    metavar="DIR",
    help="Have a certificate for the hub issued, and keep it with its key in DIR/certificate.pem;"
    " one that is there and good is used again.",
)
@option(
    "--timeout",
    PROVISION,
    "timeout",
    metavar="SECONDS",
    note="It is used as long as a failure can pass.",
)
@option("--wait", PROVISION, "wait_for_network")
@option("--pipelined", PROVISION, "pipelined")
@json_option("Print one JSON object, also if it fails.")
@click.option(
    "--steps/--no-steps",
    default=None,
    help="Print each step as it ends, on standard error.  [default: if it is a terminal]",
)
@click.option(
    "--trace", is_flag=True, help="Print each packet too: > sent, < received; no secrets."
)
@debug_option
def provision(
    *,
    id_scope: str,
    registration_id: str | None,
    key_file: str | None,
    group_key: bool,
    cert: str | None,
    cert_key: str | None,
    cert_key_password_file: str | None,
    host: str,
    port: int | None,
    path: str,
    transport: Literal["wss", "mqtts", "auto"],
    proxy: str | None,
    tls: mqttws.TlsConfig,
    payload: str | None,
    issue: str | None,
    timeout: float,
    wait_for_network: bool,
    pipelined: Literal["subscribe", "register"] | None,
    as_json: bool,
    steps: bool | None,
    trace: bool,
) -> None:
    """Register a device with DPS and print its hub and device id.

    Opens a secure WebSocket to global.azure-devices-provisioning.net on port 443,
    speaks MQTT 3.1.1 in it, registers the device, and polls as often as DPS
    demands, until the device is assigned. Ends in a result or in an error within
    --timeout seconds.

    Results go to standard output; steps, packets and errors to standard error. An
    error is one line: what was found, and what to do next.
    """
    if registration_id is None and cert is None:
        raise click.MissingParameter(param_hint="'--registration-id'", param_type="option")
    shown = (trace or sys.stderr.isatty()) if steps is None else steps
    progress = Progress(shown=shown, err=True)
    with reported(progress, as_json=as_json):
        if [key_file, cert_key_password_file, payload].count("-") > 1:
            raise mqttws.UsageError("only one file can come from standard input")
        body = None if payload is None else read_json(payload, "payload")
        credential = read_credential(
            registration_id=registration_id,
            key_file=key_file,
            group_key=group_key,
            cert=cert,
            cert_key=cert_key,
            cert_key_password_file=cert_key_password_file,
        )
        store = None if issue is None else mqttws.CertificateStore(issue)
        if shown:
            print_line(STEP_HEADER, "dim", err=True)
        assignment = mqttws.provision(
            id_scope,
            credential,
            host=host,
            port=port,
            path=path,
            payload=body,
            transport=transport,
            tls=tls,
            proxy=proxy or "environment",
            timeout=timeout,
            issue=store,
            wait_for_network=wait_for_network,
            pipelined=pipelined,
            on_step=progress.on_step,
            on_packet=progress.on_packet if trace else None,
        )
    certificate = None if store is None else _describe(store)
    if as_json:
        print_json(success(assignment, progress) | ({"certificate": certificate} if store else {}))
        return
    print_assignment(assignment)
    if certificate is not None:
        print_line(f"{'certificate':<14}{certificate['file']}, until {certificate['expires']}")


def _describe(store: mqttws.CertificateStore) -> dict[str, str]:
    """Return the file of a certificate, and its end."""
    return {"file": str(store.file), "expires": timestamp(store.expires_at() or 0.0)}
