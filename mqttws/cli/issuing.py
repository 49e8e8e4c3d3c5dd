"""The options of ``mqttws serve`` for certificates that the local services issue.

Knows how policies are written in a shell. What they mean is ``dps.issuance``'s matter.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..dps.issuance import CredentialPolicy
from ..errors import UsageError

_F = TypeVar("_F", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_POLICY = re.compile(r"([^=,]+)=(\d{1,7})([smhd])(?:,([0-3]))?")


def issuing_options(command: _F) -> _F:
    """Add the options of ``AsyncLocalDps`` for issued certificates."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _read_policies(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[CredentialPolicy]:
    return [_read_policy(value) for value in values]


def _read_policy(value: str) -> CredentialPolicy:
    found = _POLICY.fullmatch(value)
    if found is None:
        raise click.BadParameter(
            f"{value!r}; allowed: NAME=TIME or NAME=TIME,CAS, like short=12h or fleet=30d,1"
        )
    name, number, unit, cas = found.groups()
    try:
        return CredentialPolicy(name, float(int(number) * _UNITS[unit]), int(cas or 1))
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


def _read_profiles(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    profiles = {}
    for value in values:
        hub, separator, profile = value.partition("=")
        if not (separator and hub and profile):
            raise click.BadParameter(f"{value!r}; allowed: HUB=PROFILE, like my-hub.example=mqttV5")
        profiles[hub] = profile
    return profiles


_OPTIONS = (
    click.option(
        "--credential-policy",
        "credential_policies",
        multiple=True,
        metavar="NAME=TIME[,CAS]",
        callback=_read_policies,
        help="Issue certificates for enrollments with this credentialPolicyName, valid for TIME"
        " (90s, 12h, 30d), below 0 to 3 CAs; can be repeated.  [default: default=30d,1]",
    ),
    click.option(
        "--issuing-ca",
        metavar="FILE",
        help="PEM file with the CA that issues them, those above it, and its key."
        "  [default: a development CA in --state DIR]",
    ),
    click.option(
        "--connection-profile",
        "connection_profiles",
        multiple=True,
        metavar="HUB=PROFILE",
        callback=_read_profiles,
        help="The hub's connectionProfile, such as mqttV5; can be repeated.  [default: classic]",
    ),
)
