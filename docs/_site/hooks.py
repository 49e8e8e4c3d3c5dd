"""What the site takes from the code when it is built: tables, help texts, schemas, a trace.

A page has a comment ``<!-- made by _site/hooks.py: NAME -->``; the function of that name in MAKERS
returns the Markdown that takes its place. Knows MkDocs' events; nothing of it is in the package.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(ROOT))

import openapi  # noqa: E402
from diagram import registration_svg  # noqa: E402
from rooms import architecture_svg  # noqa: E402

import mqttws  # noqa: E402
from mqttws.cli.app import app  # noqa: E402
from tests import conformance  # noqa: E402
from tests.dps import proofs  # noqa: E402

_MARK = re.compile(r"<!-- made by _site/hooks\.py: (.+) -->")


def _described(enum: str) -> Iterator[tuple[str, str, str]]:
    """Return each member of an enum of hops.py, the comment above it, and its docstring."""
    source = (ROOT / "mqttws" / "hops.py").read_text()
    lines = source.splitlines()
    tree = ast.parse(source)
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == enum)
    group = ""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        above = lines[node.lineno - 2].strip()
        group = above.removeprefix("# ") if above.startswith("# ") else group
        text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
        yield node.targets[0].id, group, " ".join(text.split())


def hops() -> str:
    """Return the table of hops."""
    rows = ["| exit code | hop | what happens on it |", "| --- | --- | --- |"]
    for name, _, text in _described("Hop"):
        hop = mqttws.Hop[name]
        rows.append(f"| {hop.exit_code} | `{hop.value}` | {_code(text)} |")
    return "\n".join(rows)


def causes() -> str:
    """Return the tables of causes, a heading for each group."""
    parts: list[str] = []
    last = None
    for name, group, text in _described("Cause"):
        if group != last:
            last = group
            parts += ["", f"## {group or 'Not known'}", ""]
            parts += ["| cause | meaning | usually responsible | retryable |", "| --- " * 4 + "|"]
        cause = mqttws.Cause[name]
        party = cause.party.value if cause.party else "depends on the hop"
        retryable = "yes" if cause.retryable else "no"
        parts.append(f"| `{cause.value}` | {_code(text)} | {party} | {retryable} |")
    return "\n".join(parts)


def _code(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def commands(group: click.Group = app, path: str = "mqttws") -> Iterator[tuple[str, click.Command]]:
    """Return every command with its name, groups before what is in them."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def shell() -> str:
    """Return the help of every command."""
    parts = []
    for path, command in [("mqttws", app), *commands()]:
        context = click.Context(command, info_name=path, terminal_width=90, max_content_width=90)
        parts.append(f"## {path}\n\n```text\n{command.get_help(context)}\n```\n")
    home = str(Path.home())
    return "\n".join(parts).replace(home, "~")


def schemas() -> str:
    """Return the schemas of JSON output, each under its command's name."""
    parts = []
    for file in sorted((ROOT / "docs" / "schemas").glob("*.json")):
        schema = json.loads(file.read_text())
        text = json.dumps(schema, indent=2)
        parts.append(f"## {schema['title']}\n\n[{file.name}](schemas/{file.name})\n")
        parts.append(f"{schema['description']}\n\n```json\n{text}\n```\n")
    return "\n".join(parts)


_LOCAL = {"LocalDps", "AsyncLocalDps", "LocalHub", "AsyncLocalHub", "CredentialPolicy"}


def _api(names: list[str]) -> str:
    options = "    options:\n      heading_level: 2\n"
    return "\n".join(f"::: mqttws.{name}\n{options}" for name in names)


def _is_error(name: str) -> bool:
    value = getattr(mqttws, name)
    return isinstance(value, type) and issubclass(value, Exception)


def _devices() -> str:
    found = [n for n in mqttws.__all__ if n not in _LOCAL and not _is_error(n) and n not in _WORDS]
    return _api([*found, "types.SyncReceipt", "types.SyncMessageStream"])


_FROM_LOCAL = [f"types.{n}" for n in ("DpsEvent", "RegistrationRecord", "HubEvent", "Telemetry")]
"""What local services return."""

_WORDS = {"Hop", "Cause", "Party"}
"""On the page of errors."""


def _notes() -> str:
    """Return spec_notes.md, its links as seen from docs/."""
    return (ROOT / "spec_notes.md").read_text(encoding="utf-8").replace("](docs/", "](")


def _below(file: str) -> str:
    """Return a page of the project's root, its headings one level lower."""
    return re.sub(r"^#", "##", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)


MAKERS = {
    "security": lambda: _below("SECURITY.md"),
    "changelog": lambda: _below("CHANGELOG.md"),
    "spec notes": _notes,
    "conformance": lambda: conformance.render(conformance.read()),
    "proofs": lambda: proofs.render(proofs.read()),
    "hops": hops,
    "causes": causes,
    "shell": shell,
    "schemas": schemas,
    "admin api": openapi.page,
    "api devices": _devices,
    "api local": lambda: _api([n for n in mqttws.__all__ if n in _LOCAL] + _FROM_LOCAL),
    "api errors": lambda: _api(
        [n for n in mqttws.__all__ if _is_error(n)] + [n for n in mqttws.__all__ if n in _WORDS]
    ),
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is made in the place of its comment."""
    return _MARK.sub(lambda match: MAKERS[match[1]](), markdown)


def on_files(files: Any, config: Any) -> Any:
    """Add the diagram of a registration, which runs now, the imports' picture, and OpenAPI."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "registration.svg", content=registration_svg()))
    files.append(File.generated(config, "architecture.svg", content=architecture_svg()))
    described = json.dumps(openapi.document(), indent=2)
    files.append(File.generated(config, "openapi.json", content=described))
    return files
