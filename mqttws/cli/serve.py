"""``mqttws serve``: the local DPS as a program.

Knows the options, the example device and the signals. The service is ``mqttws.AsyncLocalDps``.
"""

import asyncio
import logging
import sys
from functools import partial
from pathlib import Path

import click

import mqttws

from ..dps.enrollment_json import parse_enrollments
from ..dps.issuance import DEFAULT_POLICY
from ..dps.records import IndividualEnrollment
from ..dps.sas import decode_key
from ..errors import UsageError
from ..local.handed import from_variable
from ..net.stream import DPS_BUFFER, TLS_RECORD, limit_tls_buffers
from ..options import LOCAL_DPS
from .common import check_host, debug_option, json_option, log_to_stderr
from .exits import Command, describe_exit_codes
from .files import MAX_FILE_SIZE, content_of, read_file
from .issuing import issuing_options
from .serve_place import EXAMPLE, AdminPlace, example_key
from .serving import serve_until_signal, steady_logs
from .supervisor import Supervisor
from .table import option, read_variables

logger: logging.Logger = logging.getLogger("mqttws.local")


def default_state() -> str:
    """Return the state folder where none is named: where the system keeps a user's state."""
    from platformdirs import user_state_path

    return str(user_state_path("mqttws", appauthor=False))


def _check_id_scope(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value or "/" in value or not (value.isascii() and value.isprintable()):
        raise click.BadParameter("allowed: one like 0ne00ABCDEF")
    return value


_EPILOG = f"""\b
Examples:
  Free ports, and one example device whose key is made in DIR; prints the
  command line that provisions it:
    mqttws serve --wss-port 0 --mqtts-port 0 --state ./dps
  The devices of a file, for scripts:
    mqttws serve --enrollments fleet.json --json

\b
Enrollments: a JSON list of individual and group records, in the shape of the
DPS service API; a record's keys are base64, 16 to 64 bytes:
  [{{"registrationId": "my-device",
    "attestation": {{"type": "symmetricKey",
                    "symmetricKey": {{"primaryKey": "...",
                                     "secondaryKey": "..."}}}}}},
   {{"enrollmentGroupId": "my-group",
    "attestation": {{...}},
    "provisioningStatus": "enabled",
    "iotHubs": ["hub-a.azure-devices.net"]}}]

\b
With --json, the first and only line of standard output:
  {{"status": "serving", "host", "wss_port", "mqtts_port", "id_scope",
   "ca_file", "connection_string": of the service API or null,
   "admin": URL or null,
   "hub": {{"names", "connection_file", "connection_strings"}} or null,
   "example": {{"registration_id", "key_file", "command"}} or null}}

\b
Environment:
  MQTTWS_SERVE_…  any option: MQTTWS_SERVE_WSS_PORT=8443 for --wss-port
                  8443; what stands in the command line counts before it
  XDG_STATE_HOME  where the default --state DIR is, if set
  NO_COLOR        if set, nothing is coloured

{describe_exit_codes(code_0="ended by a signal, or by Ctrl-C")}"""


@click.command(cls=Command, epilog=_EPILOG, short_help="Run a local DPS, with no cloud account.")
@option(
    "--host",
    LOCAL_DPS,
    "host",
    metavar="NAME",
    callback=check_host,
    note="The certificate is good for it.",
)
@option("--wss-port", LOCAL_DPS, "wss_port", metavar="N", default=443)
@option("--mqtts-port", LOCAL_DPS, "mqtts_port", metavar="N", default=8883)
@option(
    "--state",
    LOCAL_DPS,
    "state",
    metavar="DIR",
    default=default_state,
    note="Made if need be, and reused.  [default: ~/.local/state/mqttws]",
)
@option("--id-scope", LOCAL_DPS, "id_scope", metavar="SCOPE", callback=_check_id_scope)
@click.option(
    "--enrollments",
    metavar="FILE",
    help=f"Who may register: a JSON list of at most {MAX_FILE_SIZE // 2**20} MiB; see below."
    "  [default: one example device]",
)
@click.option(
    "--hub",
    "hubs",
    multiple=True,
    metavar="NAME",
    help=f"{LOCAL_DPS['hubs'].sentence} Can be repeated.  [default: local-hub.azure-devices.net]",
)
@click.option(
    "--with-hub",
    is_flag=True,
    help="Serve the hubs too, on the same ports, with their service API: see 'mqttws hub'.",
)
@click.option(
    "--hub-ca",
    "hub_cas",
    multiple=True,
    metavar="FILE",
    help="CA whose certificates devices of the hub may show; can be repeated.",
)
@click.option(
    "--telemetry",
    metavar="FILE",
    help="Append what devices send to the hubs, JSON Lines; - for standard output.",
)
@option("--retry-after", LOCAL_DPS, "retry_after", metavar="SECONDS")
@option(
    "--records",
    LOCAL_DPS,
    "records",
    metavar="FILE|URL",
    note="A file (SQLite), or postgresql://user@host/database.  [default: kept in memory]",
)
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port for 'mqttws enroll', 'mqttws fault' and scripts (needs mqttws[admin]); 0 takes a"
    " free one.  [default: none]",
)
@click.option(
    "--admin-host",
    default="127.0.0.1",
    show_default=True,
    metavar="NAME",
    callback=check_host,
    help="Address for the admin API; any but a loopback one needs a token, and speaks TLS.",
)
@click.option(
    "--admin-token-file",
    metavar="FILE",
    help="File with the token that the admin API demands.  [default: none]",
)
@option(
    "--registers-per-minute",
    LOCAL_DPS,
    "registers_per_minute",
    metavar="N",
    note="The cloud: 1000.  [default: no limit]",
)
@option("--lenient", LOCAL_DPS, "lenient", note="Such as unknown members and api-versions.")
@option(
    "--fault-seed",
    LOCAL_DPS,
    "fault_seed",
    metavar="N",
    note="'mqttws fault --probability' strikes the same requests each time.",
)
@option(
    "--polls-per-10s",
    LOCAL_DPS,
    "polls_per_10s",
    metavar="N",
    note="The cloud: 5.  [default: no limit]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Front ends that serve the same ports, over the same --records.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the lines on standard error.",
)
@issuing_options
@json_option("Print the addresses as one JSON object, in one line.")
@debug_option
def serve(
    *,
    host: str,
    wss_port: int,
    mqtts_port: int,
    state: str,
    id_scope: str,
    enrollments: str | None,
    hubs: tuple[str, ...],
    with_hub: bool,
    hub_cas: tuple[str, ...],
    telemetry: str | None,
    retry_after: int,
    records: str | None,
    admin_port: int | None,
    admin_host: str,
    admin_token_file: str | None,
    registers_per_minute: int | None,
    lenient: bool,
    fault_seed: int | None,
    polls_per_10s: int | None,
    credential_policies: list[mqttws.CredentialPolicy],
    issuing_ca: str | None,
    connection_profiles: dict[str, str],
    processes: int,
    log_format: str,
    as_json: bool,
) -> None:
    """Run a local DPS: real TLS, real credential checks, no cloud account.

    Serves MQTT 3.1.1 over WebSocket (wss) and over TLS (mqtts), never without TLS, and
    DPS over HTTPS on the wss port. Makes a development CA and a server certificate in
    --state DIR at the first start; DIR/ca.pem is what clients must trust. What it has
    assigned is forgotten when it ends, unless there are --records. Ctrl-C, SIGINT or
    SIGTERM ends it, with exit code 0.

    With --records, what a device or 'mqttws enroll' is answered is on the disk. Records
    that are there win over --enrollments FILE, of which only ids are added that they
    have never held. Several processes may share them: with --processes N, front ends
    serve the same ports, and one that dies is replaced. SIGHUP, or new files, lets
    them show another certificate.

    With --with-hub it serves the hubs too: devices go on to them at the same ports,
    with the credential and the initial twin of their enrollment, and 'mqttws hub',
    or any program with the printed connection string, is the service's side.

    Ports below 1024 may need rights: as an ordinary user, choose others, or 0.
    The official SDKs know no other ports than 443 and 8883.

    Standard output says where it listens, once it does; standard error has one
    line for each thing that happens, without secrets.
    """
    if not with_hub and (hub_cas or telemetry is not None):
        raise UsageError("--hub-ca and --telemetry are the hub's; allowed: with --with-hub")
    front_end = from_variable()
    if processes > 1:
        _check_processes(records, enrollments, with_hub)
    names = hubs or ("local-hub.azure-devices.net",)
    admin = None if admin_port is None else AdminPlace(admin_host, admin_port, admin_token_file)
    enrolled = []
    if enrollments is not None:
        text = read_file(enrollments, "enrollments")
        source = "standard input" if enrollments == "-" else enrollments
        with content_of(enrollments):
            enrolled = parse_enrollments(text, source)
    folder = Path(state).absolute()
    key_file = None if enrollments is not None else folder / f"{EXAMPLE}.key"
    example = []
    if key_file is not None:
        key = decode_key(example_key(key_file))
        example = [IndividualEnrollment(EXAMPLE, primary_key=key, credential_policy=DEFAULT_POLICY)]
    dps = mqttws.AsyncLocalDps(
        host=host,
        wss_port=wss_port,
        mqtts_port=mqtts_port,
        state=folder,
        id_scope=id_scope,
        enrollments=enrolled,
        first_enrollments=example,
        records=records,
        hubs=names,
        retry_after=retry_after,
        registers_per_minute=registers_per_minute,
        lenient=lenient,
        fault_seed=fault_seed,
        polls_per_10s=polls_per_10s,
        credential_policies=credential_policies,
        issuing_ca=issuing_ca,
        connection_profiles=connection_profiles,
    )
    log_to_stderr(logger, logging.INFO)
    if processes > 1 and front_end is None:
        steady_logs(as_json=log_format == "json")
        places = {"wss": (host, wss_port), "mqtts": (host, mqtts_port)}
        if admin_port is not None:
            places["admin"] = (admin_host, admin_port)
        asyncio.run(Supervisor(processes, places, sys.argv[1:]).run())
        return
    if front_end is not None:
        dps.handed = front_end[1]
    hub_server = None
    if with_hub:
        from .hub_serving import serve_hubs

        hub_server = partial(
            serve_hubs, dps=dps, names=names, folder=folder, telemetry=telemetry, cas=hub_cas
        )
    number = None if front_end is None else front_end[0]
    steady_logs(number, as_json=log_format == "json")
    limit_tls_buffers(TLS_RECORD if with_hub else DPS_BUFFER)
    serving = serve_until_signal(
        dps, key_file, admin, hub_server, as_json=as_json, supervised=front_end is not None
    )
    asyncio.run(serving)


def _check_processes(records: str | None, enrollments: str | None, with_hub: bool) -> None:
    """Refuse what several front ends cannot share."""
    if sys.platform == "win32":
        raise UsageError("--processes: not on Windows; allowed: 1")
    if records is None or records == ":memory:":
        raise UsageError(
            "--processes: records in memory are one process's alone",
            hint="name --records FILE or postgresql://user@host/database",
        )
    if with_hub:
        raise UsageError("--processes and --with-hub: the hubs are one process's alone")
    if enrollments == "-":
        raise UsageError("--processes and --enrollments -: allowed: a file, read by each of them")


read_variables(serve, "MQTTWS_SERVE")
