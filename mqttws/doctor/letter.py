"""The report as one text for the team that can help: tried, answered, to be allowed."""

from ..hops import Party
from ..net.certificate import shown_time
from ..text import one_line
from .advice import TEAMS
from .report import Report


def letter(report: Report) -> str:
    """Return a report as text for a team that was not there, without secrets."""
    lines = [
        f"Connection report for {report.target}",
        f"Made on {shown_time(report.when)} from {report.origin or 'a device'} by mqttws doctor.",
        "",
    ]
    if report.error is None:
        lines.append("Everything that was tried works.")
    else:
        party = TEAMS[report.party] if report.party is not None else "unknown"
        also = f", or {TEAMS[report.also]}" if report.also is not None else ""
        lines += ["What fails", f"  {report.error}", f"  To be mended by: {party}{also}."]
        lines += [f"  Which one: {report.telling}."] if report.telling else []
        lines += [f"  {report.because}."] if report.because else []
        for request in report.requests:
            here = request.party is Party.HOST
            lines += ["", "On this machine" if here else f"Request to {TEAMS[request.party]}"]
            condition = f"If {request.condition}: " if request.condition else ""
            lines.append(f"  {condition}{'' if here else 'please '}{request.text}.")
        lines += ["", "What was seen", f"  {report.sighting}"]
    lines += ["", "What was tried, step by step"]
    for step in report.steps:
        outcome = "passed" if step.error is None else "FAILED"
        lines.append(f"  {step.name:<11} {step.seconds:7.2f} s  {outcome}  {one_line(step.detail)}")
        lines += [
            f"              {name}: {one_line(value)}"
            for name, value in step.facts.items()
            if value and value not in step.detail
        ]
    if report.alternatives:
        lines += ["", "Other ways that were tried"]
        lines += [
            f"  {other.name}: {'open' if other.works else 'fails'}: {one_line(other.detail)}"
            for other in report.alternatives
        ]
    if report.warnings:
        lines += ["", "Warnings", *(f"  {line}" for line in report.warnings)]
    lines += ["", "Settings of that host", *(f"  {line}" for line in report.settings)]
    lines += ["", "What this device needs"]
    lines += [f"  {line}" for line in _needs(report)]
    return "\n".join([*lines, ""])


def _needs(report: Report) -> list[str]:
    scheme, _, rest = report.target.partition("://")
    where = rest.partition("/")[0]
    needs = [
        f"TCP to {where}, outgoing; name resolution of that host (or a proxy that resolves it)",
        "TLS 1.2 or 1.3 from end to end: a device's certificate cannot pass a proxy that re-signs",
    ]
    if scheme in ("wss", "ws"):
        needs.append(
            f"HTTP/1.1 Upgrade to WebSocket on {rest[len(where) :] or '/'}, subprotocol mqtt,"
            " connections that stay open for hours"
        )
    if report.party is Party.PROXY:
        needs.append(f"the proxy: CONNECT {where}, without a limit below an hour")
    return needs
