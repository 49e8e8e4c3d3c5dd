"""``mqttws serve``: the local DPS as a program.

Knows the options, the example device and the signals. The service is ``mqttws.AsyncLocalDps``.
"""

import asyncio
import gc
import importlib.util
import logging
import os
import secrets
import shlex
import shutil
import signal
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import click

import mqttws

from ..dps.enrollment_json import parse_enrollments
from ..dps.records import IndividualEnrollment
from ..dps.sas import decode_key
from ..errors import StoreDamaged, UsageError, store_failed
from ..local.logs import SteadyHandler
from ..local.policies import EVERYWHERE
from ..net.stream import limit_tls_buffers
from .common import check_host, debug_option, json_option, log_to_stderr, read_file
from .exits import Command, describe_exit_codes
from .output import print_json, print_line

if TYPE_CHECKING:
    from ..local.admin import AdminApi

EXAMPLE = "example-device"
"""Registration id of the device that is there where no FILE says who is."""

logger: logging.Logger = logging.getLogger("mqttws.local")


def default_state() -> str:
    """Return the state folder where none is named."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return str(Path(home) / "mqttws")


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
  [{{
    "registrationId": "my-device",
    "attestation": {{
        "type": "symmetricKey",
                    "symmetricKey": {{
            "primaryKey": "...",
                                     "secondaryKey": "..."}}}}}},
   {{
    "enrollmentGroupId": "my-group",
    "attestation": {{...}},
    "provisioningStatus": "enabled",
    "iotHubs": ["hub-a.azure-devices.net"]}}]

\b
With --json, the first and only line of standard output:
  {{
    "status": "serving", "host", "wss_port", "mqtts_port", "id_scope",
   "ca_file", "connection_string": of the service API or null,
   "admin": URL or null,
   "hub": {{"names", "connection_file", "connection_strings"}} or null,
   "example": {{"registration_id", "key_file", "command"}} or null}}

\b
Environment:
  XDG_STATE_HOME  where the default --state DIR is, if set
  NO_COLOR        if set, nothing is coloured

{describe_exit_codes(code_0="ended by a signal, or by Ctrl-C")}"""


@click.command(cls=Command, epilog=_EPILOG, short_help="Run a local DPS, with no cloud account.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="NAME",
    callback=check_host,
    help="Address to listen on; the certificate is good for it.",
)
@click.option(
    "--wss-port",
    type=click.IntRange(0, 65535),
    default=443,
    show_default=True,
    metavar="N",
    help="Port for MQTT over WebSocket; 0 takes a free one.",
)
@click.option(
    "--mqtts-port",
    type=click.IntRange(0, 65535),
    default=8883,
    show_default=True,
    metavar="N",
    help="Port for MQTT over TLS; 0 takes a free one.",
)
@click.option(
    "--state",
    default=default_state,
    metavar="DIR",
    help="Folder for CA, certificate and example key; made if need be, and reused."
    "  [default: ~/.local/state/mqttws]",
)
@click.option(
    "--id-scope",
    default="0ne00LOCAL",
    show_default=True,
    metavar="SCOPE",
    callback=_check_id_scope,
    help="ID scope of this instance.",
)
@click.option(
    "--enrollments",
    metavar="FILE",
    help="Who may register: a JSON list; see below.  [default: one example device]",
)
@click.option(
    "--hub",
    "hubs",
    multiple=True,
    metavar="NAME",
    help="A linked IoT hub; can be repeated.  [default: local-hub.azure-devices.net]",
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
@click.option(
    "--retry-after",
    type=click.IntRange(0, 3600),
    default=3,
    show_default=True,
    metavar="SECONDS",
    help="How long a device is told to wait before it asks again.",
)
@click.option(
    "--records",
    metavar="FILE|URL",
    help="Where enrollments and registrations are kept: a file (SQLite), or"
    " postgresql://user@host/database.  [default: none, kept in memory]",
)
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port for 'mqttws enroll', 'mqttws fault' and scripts; 0 takes a free one."
    "  [default: none]",
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
@click.option(
    "--registers-per-minute",
    type=click.IntRange(1, 10**9),
    metavar="N",
    help="Answer 429 to more, of all devices together; the cloud: 1000.  [default: none]",
)
@click.option(
    "--lenient",
    is_flag=True,
    help="Serve bodies and api-versions that the cloud refuses.",
)
@click.option(
    "--fault-seed",
    type=click.IntRange(-(2**63), 2**63),
    metavar="N",
    help="Let 'mqttws fault --probability' strike the same requests each time.",
)
@click.option(
    "--polls-per-10s",
    type=click.IntRange(1, 10**9),
    metavar="N",
    help="Answer 429 to more, of each device; the cloud: 5.  [default: none]",
)
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
    as_json: bool,
) -> None:
    """Run a local DPS: real TLS, real credential checks, no cloud account.

    Serves MQTT 3.1.1 over WebSocket (wss) and over TLS (mqtts), and never without
    TLS. Makes a development CA and a server certificate in --state DIR at the first
    start; DIR/ca.pem is what clients must trust. What it has assigned is forgotten
    when it ends, unless there are --records. Ctrl-C, SIGINT or SIGTERM ends it, with exit code 0.

    With --records, what a device or 'mqttws enroll' is answered is on the disk. Records
    that are there win over --enrollments FILE, of which only ids are added that they
    have never held. Several processes may share them.

    With --with-hub it serves the hubs too: devices go on to them at the same ports,
    with the credential and the initial twin of their enrollment, and 'mqttws hub',
    or any program with the printed connection string, is the service's side.

    Ports below 1024 may need rights: as an ordinary user, choose others, or 0.
    The official SDKs know no other ports than 443 and 8883.

    Standard output tells where it listens, once it does; standard error has one
    line for each thing that happens, without secrets.
    """
    if not with_hub and (hub_cas or telemetry is not None):
        raise UsageError("--hub-ca and --telemetry are the hub's; allowed: with --with-hub")
    names = hubs or ("local-hub.azure-devices.net",)
    admin = None if admin_port is None else _Admin(admin_host, admin_port, admin_token_file)
    enrolled = []
    if enrollments is not None:
        text = read_file(enrollments, "enrollments")
        source = "standard input" if enrollments == "-" else enrollments
        enrolled = parse_enrollments(text, source)
    folder = Path(state).absolute()
    key_file = None if enrollments is not None else folder / f"{EXAMPLE}.key"
    example = []
    if key_file is not None:
        key = decode_key(_example_key(key_file))
        example = [IndividualEnrollment(EXAMPLE, primary_key=key)]
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
    )
    hub_server = None
    if with_hub:
        from .hub_serving import serve_hubs

        hub_server = partial(
            serve_hubs, dps=dps, names=names, folder=folder, telemetry=telemetry, cas=hub_cas
        )
    log_to_stderr(logger, logging.INFO)
    _steady_logs()
    limit_tls_buffers()
    asyncio.run(_serve(dps, key_file, admin, hub_server, as_json=as_json))


def _steady_logs() -> None:
    """Let a thread write the log: a reader that has stopped stops nothing else.

    What no line shows is not found out for each record (Python's logging HOWTO, "Optimization").
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    for known in (logging.getLogger(), logger):
        for handler in list(known.handlers):
            if type(handler) is logging.StreamHandler:
                steady = SteadyHandler(handler.stream)
                steady.setFormatter(handler.formatter)
                steady.setLevel(handler.level)
                known.removeHandler(handler)
                known.addHandler(steady)


async def _serve(
    dps: mqttws.AsyncLocalDps,
    key_file: Path | None,
    admin: "_Admin | None",
    with_hub: Callable[[AsyncExitStack], Awaitable[dict[str, Any]]] | None,
    *,
    as_json: bool,
) -> None:
    """Serve until a signal comes."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end(name: str) -> None:
        logger.info("%s: the service ends", name)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one ends it the hard way
        stop.set()

    with suppress(NotImplementedError):  # where there are no such signals, Ctrl-C ends it
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number.name)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(dps)
        admin_url = None
        if admin is not None:
            admin_url = (await stack.enter_async_context(admin.api(dps))).url
        served = None if with_hub is None else await with_hub(stack)
        example = await dps.directory.individual(EXAMPLE)
        place = _Place(dps, None if example is None else key_file, admin_url, served)
        if as_json:
            print_json(place.to_json())
        else:
            place.print()
        gc.freeze()  # what is here now stays: no collection need look through it again
        await stop.wait()


class _Admin:
    """Where the admin API shall listen, and the token that it demands."""

    def __init__(self, host: str, port: int, token_file: str | None) -> None:
        self._host = host
        self._port = port
        self._token = None
        if token_file is not None:
            self._token = read_file(token_file, "admin token file").strip()
            if not self._token:
                raise UsageError(f"the admin token file {token_file}: it is empty")
            if len(self._token.split()) > 1:  # no header could bring it
                raise UsageError(f"the admin token file {token_file}: allowed: one word")

    def api(self, dps: mqttws.AsyncLocalDps) -> "AdminApi":
        """Return the API, which has not been started."""
        from ..local.admin import AdminApi  # needs the extra

        return AdminApi(dps, host=self._host, port=self._port, token=self._token)


@dataclass(frozen=True)
class _Place:
    """Where a started service is, for a human and for a script."""

    dps: mqttws.AsyncLocalDps
    key_file: Path | None
    admin_url: str | None
    hub: Mapping[str, Any] | None = None

    @property
    def connection_string(self) -> str | None:
        """The service API's connection string; None without the extra that serves it."""
        served = importlib.util.find_spec("aiohttp") is not None
        return self.dps.service_connection_string() if served else None

    @property
    def command(self) -> str:
        """A shell's command line that provisions the example device."""
        options = {
            "--id-scope": self.dps.id_scope,
            "--registration-id": EXAMPLE,
            "--key-file": str(self.key_file),
            "--host": EVERYWHERE.get(self.dps.host, self.dps.host),
            "--port": str(self.dps.wss_port),
            "--ca": str(self.dps.ca_file),
        }
        pairs = [word for option in options.items() for word in option]
        return shlex.join([*_program(), "provision", *pairs])

    def to_json(self) -> dict[str, object]:
        return {
            "status": "serving",
            "host": self.dps.host,
            "wss_port": self.dps.wss_port,
            "mqtts_port": self.dps.mqtts_port,
            "id_scope": self.dps.id_scope,
            "ca_file": str(self.dps.ca_file),
            "connection_string": self.connection_string,
            "admin": self.admin_url,
            "hub": self.hub,
            "example": None
            if self.key_file is None
            else {
                "registration_id": EXAMPLE,
                "key_file": str(self.key_file),
                "command": self.command,
            },
        }

    def print(self) -> None:
        host = f"[{self.dps.host}]" if ":" in self.dps.host else self.dps.host
        print_line("The local DPS is ready; Ctrl-C ends it.", "bold")
        print_line(f"  wss       wss://{host}:{self.dps.wss_port}/$iothub/websocket")
        print_line(f"  mqtts     mqtts://{host}:{self.dps.mqtts_port}")
        print_line(f"  id scope  {self.dps.id_scope}")
        print_line(f"  trust     {self.dps.ca_file}")
        if self.connection_string is not None:
            print_line(
                "  service   its API, on the wss port, for service SDKs and 'az iot dps --login':"
            )
            print_line(f"            {self.connection_string}")
        if self.admin_url is not None:
            print_line(f"  admin     {self.admin_url}")
        if self.hub is not None:
            for name, text in self.hub["connection_strings"].items():
                print_line(f"  hub       {name}, its service API on the wss port:")
                print_line(f"            {text}")
        if self.key_file is not None:
            print_line(f"  device    {EXAMPLE}, its key in {self.key_file}")
            print_line()
            print_line("Provision it from another terminal:")
            print_line(self.command, "bold")


def _program() -> list[str]:
    """Return how this very program is called again from a shell."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "mqttws"]
    found = shutil.which(called.name)
    if found is not None and called.exists() and Path(found).samefile(called):
        return [called.name]
    return [str(called.absolute())]


def _example_key(file: Path) -> str:
    """Return the example device's key from ``file``, which is made if it is not there.

    Raises:
        StoreFailed: the file cannot be made, or what is in it is no key.
        UsageError: it cannot be read.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():  # written whole, or not at all
            with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.") as new:
                new.write(b64encode(secrets.token_bytes(64)).decode() + "\n")
                new.flush()
                with suppress(FileExistsError):  # another process was faster
                    os.link(new.name, file)
    except OSError as error:
        raise store_failed(
            f"the state folder cannot be used: {file.parent}: {error.strerror}",
            error,
            hint="name another with --state",
        ) from error
    key = read_file(str(file), "the example device's key").strip()
    try:
        decode_key(key)
    except UsageError as error:
        fault = str(error)
    else:
        if not file.is_symlink():  # the target of a link is another one's
            file.chmod(0o600)
        return key
    raise StoreDamaged(f"{file}: {fault}", hint="remove the file: a new key is made then")
