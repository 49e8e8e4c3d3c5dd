"""``mqttws hub fault`` and ``mqttws hub throttle``: a running local hub goes wrong on purpose.

Knows the options. What each kind does, and which options go together, is ``hub.service``'s matter.
"""

from collections.abc import Callable
from typing import get_args

import click

from ..hub.service.faults import FaultKind, Operation, parse_hub_fault
from ..options import HUB_FAULT
from .exits import ASKING_EXIT_CODES, Command
from .hub_service import HubService
from .output import print_json
from .table import given, members_of, option

Service = Callable[[], HubService]

_EPILOG = f"""\b
Examples:
  The next two twin reads of one device are answered 429:
    mqttws hub fault answer --device my-device --operation twin-get \\
      --status 429 --times 2
  One telemetry message in ten is never acknowledged:
    mqttws hub fault silence --operation telemetry --probability 0.1 --times 0
  Behind the first two, one in ten is lost, the same ones each time:
    mqttws hub fault silence --operation telemetry --skip 2 --probability 0.1 \\
      --seed 7 --times 0
  What stands, and enough of it:
    mqttws hub fault list
    mqttws hub fault none

\b
Kinds, and the options of their own:
  refuse      CONNACK with --return-code
  drop        the connection is cut instead of the operation
  drop-after  it is cut after the operation was acknowledged
  answer      a twin operation is answered --status, and not done
  silence     the operation is not done, nor answered
  delay       it is done --seconds later
  bad-chain   an issued certificate is spoilt (--chain)
  list        prints the orders that stand, one JSON object a line
  none        takes all orders back

{ASKING_EXIT_CODES}"""


@click.command(cls=Command, epilog=_EPILOG, short_help="Let the hub fail on purpose.")
@click.argument("kind", type=click.Choice([*get_args(FaultKind), "list", "none"]))
@option("--device", HUB_FAULT, "device", metavar="ID", note="[default: all]")
@click.option("--operation", type=click.Choice(get_args(Operation)), help="Only this operation.")
@click.option(
    "--times", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="0: always."
)
@members_of(HUB_FAULT, "times", "device")
@click.pass_obj
def fault(service: Service, /, *, kind: str, times: int, **members: object) -> None:
    """Let the running hub go wrong on purpose, to see what devices do then."""
    if kind == "none":
        service().ask("DELETE", "/faults")
        return
    if kind == "list":
        for order in service().ask("GET", "/faults"):
            print_json(order, schema=None)
        return
    order = {"kind": kind, "times": times or None, **given(members)}
    parse_hub_fault(order)  # before it is sent: no hub need be asked to see what is wrong
    service().ask("POST", "/faults", order)


_RATE = click.FloatRange(0, 10**9, min_open=True)


@click.command(
    cls=Command, epilog=ASKING_EXIT_CODES, short_help="Limit what the hub takes in a second."
)
@click.option("--connects", type=_RATE, metavar="N", help="CONNACK 3 to more.")
@click.option("--telemetry", type=_RATE, metavar="N", help="Acknowledge more late, then close.")
@click.option("--twin-reads", type=_RATE, metavar="N", help="Answer 429 to more.")
@click.option("--twin-updates", type=_RATE, metavar="N", help="Answer 429 to more.")
@click.pass_obj
def throttle(service: Service, /, **limits: float | None) -> None:
    """Limit operations a second at the running hub, and print the limits.

    A limit that is not named ends; without any option there is none.
    """
    print_json(service().ask("PUT", "/throttles", limits))
