"""``mqttws fault``: faults on order at a running local DPS, over its admin API.

Knows the options. What each kind does, and which options go together, is ``dps.faults``'s matter.
"""

from typing import get_args

import click

from ..dps.faults import Kind, parse_fault
from ..options import DPS_FAULT
from .admin import admin_options, client_for
from .exits import ASKING_EXIT_CODES, Command
from .output import print_json
from .table import given, members_of, option

_EPILOG = f"""\b
Examples:
  The next two requests of one device are answered 429, ask again in 1 s:
    mqttws fault --admin http://127.0.0.1:8080 answer --device my-device \\
      --status 429 --retry-after 1 --times 2
  Its third poll gets an error code of its own:
    mqttws fault --admin http://127.0.0.1:8080 answer --device my-device \\
      --hop poll --skip 2 --status 401 --error-code 401002
  One connection in ten is dropped right after the answer, for ever, and the
  same ones each time:
    mqttws fault --admin http://127.0.0.1:8080 drop-after \\
      --probability 0.1 --seed 7 --times 0
  The service goes away for five seconds when a device polls:
    mqttws fault --admin http://127.0.0.1:8080 restart --hop poll --seconds 5
  What still stands, and enough of it:
    mqttws fault --admin http://127.0.0.1:8080 list
    mqttws fault --admin http://127.0.0.1:8080 none

\b
Kinds, and the options of their own:
  answer                  another answer: --status, --retry-after, and
                          --error-code with --message, or --body;
                          --return-code with --hop connect
  delay, trickle          it comes later; byte by byte (--seconds)
  drop-before             the connection is cut instead of the answer
  drop-after              it is cut right after the answer
  cut                     it is cut after --bytes of the answer
  slow                    from here on it carries --bytes-per-second
  bad-json                the answer's body ends in its middle
  silence                 no answer
  close-websocket         the WebSocket is closed with --code
  restart                 the service is away for --seconds
  expired-certificate, wrong-name-certificate, unknown-ca-certificate,
  missing-intermediate    shown in the next handshake
  bad-chain               an issued certificate is spoilt (--chain)
  list                    prints the orders that stand, one JSON object a line
  none                    takes all orders back

{ASKING_EXIT_CODES}"""


@click.command(cls=Command, epilog=_EPILOG, short_help="Let a local DPS fail on purpose.")
@admin_options
@click.argument("kind", type=click.Choice([*get_args(Kind), "list", "none"]))
@option("--device", DPS_FAULT, "device", metavar="ID", note="[default: all]")
@option(
    "--hop",
    DPS_FAULT,
    "hop",
    note="[default: register, poll and lookup, or what the kind can strike]",
)
@click.option(
    "--times", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="0: always."
)
@members_of(DPS_FAULT, "times", "device", "hop")
def fault(
    *,
    admin: str | None,
    token_file: str | None,
    ca: str | None,
    kind: str,
    times: int,
    **members: object,
) -> None:
    """Let a running local DPS go wrong on purpose, to see what devices do then.

    The service must have been started with --admin-port. Options that do not go
    together are refused.
    """
    client = client_for(admin, token_file, ca)
    if kind == "none":
        client.ask("DELETE", "/faults")
        return
    if kind == "list":
        for order in client.ask("GET", "/faults"):
            print_json(order, schema=None)
        return
    order = {"kind": kind, "times": times or None, **given(members)}
    parse_fault(order)  # before it is sent: no service need be asked to see what is wrong
    client.ask("POST", "/faults", order)
