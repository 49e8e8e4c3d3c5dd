"""``mqttws doctor``: walks the way to a server, hop by hop, and says which one refuses.

Knows the options and the lines. What is found out is ``mqttws.diagnose``.
"""

from pathlib import Path
from typing import Literal

import click

import mqttws

from ..doctor.advice import TEAMS
from ..doctor.letter import letter
from ..doctor.report import Report, Request
from ..doctor.settings import describe_settings
from ..errors import store_failed
from ..hops import Party
from ..net.proxy import ENVIRONMENT
from ..net.target import make_target
from ..options import DIAGNOSE
from .common import check_host, credential_options, debug_option, json_option, read_credential
from .exits import Command, describe_exit_codes
from .files import check_name
from .network import proxy_options, trust_options
from .output import STEP_HEADER, Progress, print_json, print_line, reported
from .table import option

_EXIT_CODES = describe_exit_codes(*mqttws.Hop, code_0="the way is open")

_EPILOG = f"""\b
Examples:
  Is the way to DPS open from here?
    mqttws doctor global.azure-devices-provisioning.net
  A text for the network team, with all that was tried:
    mqttws doctor global.azure-devices-provisioning.net --report report.txt
  The whole job, with a device's credentials, through a proxy:
    mqttws doctor global.azure-devices-provisioning.net \\
        --proxy http://proxy.example:3128 --id-scope 0ne00ABCDEF \\
        --registration-id my-device --key-file my-device.key
  The same with a certificate:
    mqttws doctor global.azure-devices-provisioning.net \\
        --id-scope 0ne00ABCDEF --cert chain.pem --cert-key my.key

\b
A proxy's login comes from a file (--proxy-file), or from the environment,
where other users cannot see it:
  MQTTWS_PROXY=http://user:password@proxy.example:3128

{_EXIT_CODES}"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("host", callback=check_host)
@option("--port", DIAGNOSE, "port", metavar="N")
@option("--path", DIAGNOSE, "path", metavar="PATH")
@option("--transport", DIAGNOSE, "transport")
@proxy_options
@option("--id-scope", DIAGNOSE, "id_scope", metavar="SCOPE")
@credential_options
@trust_options
@option(
    "--timeout",
    DIAGNOSE,
    "timeout",
    metavar="SECONDS",
    note="A single hop gets 15 at most, a name 37.",
)
@click.option(
    "--report",
    "report_file",
    metavar="FILE",
    help="Also write a text for the team that can help into this file.",
)
@json_option("Print one JSON object.")
@debug_option
def doctor(
    *,
    host: str,
    port: int | None,
    path: str,
    transport: Literal["wss", "mqtts"],
    proxy: str | None,
    id_scope: str | None,
    registration_id: str | None,
    key_file: str | None,
    group_key: bool,
    cert: str | None,
    cert_key: str | None,
    cert_key_password_file: str | None,
    tls: mqttws.TlsConfig,
    timeout: float,
    report_file: str | None,
    as_json: bool,
) -> int:
    """Find out which hop on the way to HOST refuses, who can mend it, and what to try.

    Walks name, TCP, proxy, TLS, upgrade and MQTT, and prints a line for each as it
    ends. With --id-scope and either --registration-id and a key, or --cert, the
    device is registered with DPS too. After a failure other ways are tried, to
    tell "blocked" from "down". Nothing that is printed is a secret.
    """
    progress = Progress(shown=not as_json, err=False)

    def on_step(step: mqttws.Step) -> None:
        progress.on_step(step)
        if step.ended is not None and not as_json:
            _print_facts(step)

    with reported(progress, as_json=as_json):
        given = (registration_id, key_file, group_key or None, cert, cert_key)
        named = any(word is not None for word in (*given, cert_key_password_file))
        if (id_scope is not None) != named:
            raise mqttws.UsageError(
                "--id-scope belongs together with --registration-id and a key, or with --cert"
            )
        credential = None
        if named:
            credential = read_credential(
                registration_id=registration_id,
                key_file=key_file,
                group_key=group_key,
                cert=cert,
                cert_key=cert_key,
                cert_key_password_file=cert_key_password_file,
            )
        if not as_json:
            for line in describe_settings(
                make_target(transport, host, port, path), proxy or ENVIRONMENT
            ):
                print_line(f"on this host   {line}", "dim")
            print_line()
            print_line(STEP_HEADER, "dim")
        report = mqttws.diagnose(
            host,
            port=port,
            path=path,
            transport=transport,
            proxy=proxy or ENVIRONMENT,
            tls=tls,
            id_scope=id_scope,
            credential=credential,
            timeout=timeout,
            on_step=on_step,
        )
    if report_file is not None:  # out of the walk: its failure belongs to no hop
        _write(report_file, letter(report))
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report, report_file)
    return report.exit_code


def _write(file: str, text: str) -> None:
    check_name(file, "--report")
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise store_failed(
            f"the report cannot be written to {file}: {error.strerror}", error
        ) from None


def _print_facts(step: mqttws.Step) -> None:
    """Print the facts that the peer sent on a hop, except those in the hop's own line."""
    for name, value in step.facts.items():
        if value and value not in step.detail:
            print_line(f"{'':22}{name + ':':<11} {value}", "dim")


def _shown(request: Request) -> str:
    """Return the line that says what to ask of whom, or what to do here."""
    if request.party is Party.HOST:
        here = f"if {request.condition}, here" if request.condition else "on this machine"
        return f"do             {here}: {request.text}"
    condition = f", if {request.condition}" if request.condition else ""
    return f"ask            {TEAMS[request.party]}{condition}: please {request.text}"


def _print_report(report: Report, report_file: str | None) -> None:
    print_line()
    if report.clock_skew is not None:
        print_line(f"clock          {abs(report.clock_skew):.0f} s from the other end's", "dim")
    for line in report.warnings:
        print_line(f"warning        {line}", "yellow")
    if report.error is None:
        print_line(f"the way is open: {report.target}", "bold green")
        return
    hop = f" ({report.hop.value})" if report.hop is not None else ""
    print_line(f"failed{hop}: {report.error}", "bold red")
    for other in report.alternatives:
        state = "open" if other.works else "fails"
        print_line(f"also tried     {other.name}: {state}: {other.detail}")
    if report.party is not None:
        also = f", or {report.also.value}" if report.also is not None else ""
        print_line(f"likely cause   {report.party.value}{also}", "bold")
    if report.because:
        print_line(f"because        {report.because}")
    if report.telling:
        print_line(f"which one      {report.telling}", "bold")
    for line in report.advice:
        print_line(f"try            {line}", "cyan")
    for request in report.requests:
        print_line(_shown(request), "cyan")
    if report.message_to_team:
        print_line(f"send along     {report.sighting}")
        if report_file is None:
            print_line("               (--report FILE writes all of this for them)", "dim")
    if report_file is not None:
        print_line(f"written        {report_file}", "dim")
