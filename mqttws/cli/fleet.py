"""``mqttws provision-fleet``: many devices from a CSV file, and the result of each in another.

Knows the options, and how a run ends. The files are ``fleet_file``'s and ``fleet_results``'; the
work is ``provisioning.fleet``'s.
"""

import asyncio
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import click

import mqttws

from ..dps.sas import decode_key
from ..errors import MqttwsError, UnusableFile
from ..net.stream import DPS_BUFFER, limit_tls_buffers
from ..options import FLEET
from ..provisioning.credentials import Credential
from ..provisioning.fleet import provision_fleet_async
from ..provisioning.plan import Transport
from . import INTERRUPTED
from .common import check_host, debug_option, json_option, read_key_password
from .exits import SOME_FAILED, Command, describe_exit_codes
from .files import MAX_FILE_SIZE, content_of, read_secret
from .fleet_file import FleetFile, read_fleet
from .fleet_results import Results, assigned_in
from .network import proxy_options, trust_options
from .output import print_error, print_failure, print_json, print_line
from .table import option

MAX_TOLD = 100
"""Faults of a file that are printed; a fleet of thousands may have one in each line."""

_EXIT_CODES = describe_exit_codes(
    *mqttws.Hop,
    code_0="all are assigned",
    code_3="some are not; the results say why",
)

_EPILOG = f"""\b
Examples:
  A hundred devices, each with its own key:
    mqttws provision-fleet fleet.csv --id-scope 0ne00ABCDEF --concurrency 20
  Devices of one enrollment group; the CSV has registration ids only:
    mqttws provision-fleet ids.csv --id-scope 0ne00ABCDEF \\
      --group-key-file group.key

\b
FILE: CSV with a header line, at most {MAX_FILE_SIZE // 2**20} MiB; columns registration_id, and
key (base64), or chain_file and key_file (PEM), or neither with
--group-key-file; and payload, as JSON, for devices that send one to the
enrollment's custom allocation. A larger fleet is given in several files.
Other columns are named and not used:
  registration_id,key,payload
  device-1,AAECAwQ...,"{{""model"": 7}}"

\b
Environment:
  MQTTWS_KEY_PASSWORD  of the private keys, if they are encrypted: one for all
  MQTTWS_PROXY         a proxy's URL, with its login

\b
Results: a line is added for each device as soon as it is done; columns
registration_id, status (assigned or error), assigned_hub, device_id,
substatus, payload (what the service sent, as JSON), error. Devices that stand
there as assigned are passed over: after Ctrl-C, or after failures, the same
command line goes on with the rest. A second run on the same results file is
refused while the first one runs.

\b
With --json, one object a line on standard output:
  for each device  registration_id, status "assigned" with assigned_hub,
                   device_id, substatus, payload; or "error" with error (its
                   class), message, hint, hop, cause, party, retryable,
                   exit_code, facts, steps
  at the end       status "done", "interrupted" (Ctrl-C), or "error" with the
                   members of an error and no registration_id; and assigned,
                   failed, skipped, before (assigned by an earlier run), left
                   (not done), exit_code

{_EXIT_CODES}"""


@click.command("provision-fleet", cls=Command, epilog=_EPILOG, short_help="Register many devices.")
@click.argument("file")
@option("--id-scope", FLEET, "id_scope", metavar="SCOPE")
@click.option(
    "--results",
    metavar="FILE",
    help="CSV file to add the results to.  [default: FILE with .results.csv at its end]",
)
@option("--concurrency", FLEET, "concurrency", metavar="N")
@click.option(
    "--group-key-file",
    metavar="FILE",
    help="File with the enrollment group's key: each device's key is derived from it.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Register the good rows of a file that has bad ones."
)
@option("--host", FLEET, "host", metavar="NAME", callback=check_host)
@option("--port", FLEET, "port", metavar="N")
@option("--transport", FLEET, "transport", note="auto: whichever is open.")
@proxy_options
@trust_options
@option("--cache", FLEET, "cache", metavar="DIR")
@option("--timeout", FLEET, "timeout", metavar="SECONDS")
@option("--total-timeout", FLEET, "total_timeout", metavar="SECONDS")
@option("--wait", FLEET, "wait_for_network")
@option("--jitter", FLEET, "jitter", metavar="SECONDS")
@json_option("Print a JSON object for each device, and one at the end.")
@debug_option
def provision_fleet_command(
    *,
    file: str,
    id_scope: str,
    results: str | None,
    concurrency: int,
    group_key_file: str | None,
    skip_bad: bool,
    host: str,
    port: int | None,
    transport: Transport,
    proxy: str | None,
    tls: mqttws.TlsConfig,
    cache: str | None,
    timeout: float,
    total_timeout: float | None,
    wait_for_network: bool,
    jitter: float,
    as_json: bool,
) -> int:
    """Register the devices of a CSV file, and write down the result of each.

    All faults of the file are listed at once, and then nothing is sent, unless
    --skip-bad is given. When DPS answers one device 429 (too many requests), no
    other begins before the time that it names has passed.
    """
    group_key = None if group_key_file is None else _read_group_key(group_key_file)
    fleet = read_fleet(file, group_key, read_key_password(None))
    _tell_faults(file, fleet, skip_bad=skip_bad)
    results = results or f"{file}.results.csv"
    assigned_in(results)  # of another kind, it is left alone
    with Results(results, as_json=as_json) as told:
        done = assigned_in(results)
        waiting = [pair for name, pair in fleet.devices.items() if name not in done]
        told.begin(len(waiting))
        run = partial(
            _run,
            id_scope,
            [credential for credential, _ in waiting],
            told,
            concurrency=concurrency,
            jitter=jitter,
            payloads={credential.registration_id: sent for credential, sent in waiting},
            timeout=timeout,
            host=host,
            total_timeout=total_timeout,
            port=port,
            transport=transport,
            proxy=proxy or "environment",
            tls=tls,
            cache=cache,
            wait_for_network=wait_for_network,
        )
        before = len(fleet.devices) - len(waiting)
        return _end(run, told, fleet, before, results, as_json=as_json)


def _read_group_key(file: str) -> str:
    """Return a group's key from a file.

    Raises:
        UnusableFile: it cannot be read, or holds no key.
    """
    key = read_secret(file, "group key file")
    with content_of(file, "group key file"):
        decode_key(key)
    return key


def _end(
    run: Callable[[], bool],
    told: Results,
    fleet: FleetFile,
    before: int,
    results: str,
    *,
    as_json: bool,
) -> int:
    """Run it, say how it has ended, and return the exit code.

    Args:
        run: registers the devices; tells whether that was interrupted.
        told: the results.
        fleet: the devices, and what is wrong in their file.
        before: how many an earlier run has registered.
        results: the file's name.
        as_json: whether to say it as JSON.
    """

    def counts() -> dict[str, int]:
        left = len(fleet.devices) - before - told.assigned - told.failed
        done = {"assigned": told.assigned, "failed": told.failed, "before": before}
        return {**done, "skipped": len(fleet.faults), "left": left}

    try:
        interrupted = run()
    except MqttwsError as error:
        if as_json:
            print_failure(error, more=counts())
        raise
    code = INTERRUPTED if interrupted else told.exit_code
    if fleet.faults and code == 0:
        code = SOME_FAILED
    if as_json:
        status = "interrupted" if interrupted else "done"
        print_json({"status": status, **counts(), "exit_code": code})
    if interrupted:
        print_error(
            f"interrupted: {told.assigned} assigned, {told.failed} failed,"
            f" {counts()['left']} not done; results in {results}",
            f"go on with: mqttws {shlex.join(sys.argv[1:])}",
        )
    elif not as_json:
        print_line(
            f"{told.assigned} assigned, {told.failed} failed, {before} were assigned already"
        )
    return code


def _tell_faults(file: str, fleet: FleetFile, *, skip_bad: bool) -> None:
    """Print all that is wrong with a file.

    Raises:
        UnusableFile: something is, and bad rows are not to be skipped.
    """
    if fleet.unused:
        print_line(f"mqttws: {file}: columns not used: {', '.join(fleet.unused)}", err=True)
    faults = fleet.faults
    if len(faults) == 1 and not skip_bad:
        raise faults[0]
    for fault in faults[:MAX_TOLD]:
        print_error(str(fault), fault.hint)
    if faults and not skip_bad:
        more = f", {MAX_TOLD} of them above" if len(faults) > MAX_TOLD else ""
        raise UnusableFile(
            f"{file}: {len(faults)} faults{more}; nothing was sent",
            file=file,
            hint="correct them, or register the other rows with --skip-bad",
        )


def _run(id_scope: str, credentials: list[Credential], told: Results, **options: Any) -> bool:
    """Register the devices; return whether that was interrupted with Ctrl-C."""
    interrupted = False

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:  # once: the end of it is bounded, and is not to be cut off
            nonlocal interrupted
            if not interrupted:
                interrupted = True
                task.cancel()

        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            await provision_fleet_async(id_scope, credentials, told.add, **options)
        finally:
            if interrupted:  # now: as the loop ends, a signal would find its pipe closed
                loop.remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left to be printed is short

    limit_tls_buffers(DPS_BUFFER)  # hundreds of connections, and nothing else in here
    try:
        asyncio.run(run())
    except (asyncio.CancelledError, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return True
    return False
