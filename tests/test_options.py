"""Options: one table for all calls, and a UsageError for each wrong value."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import mqttws
from mqttws import options
from mqttws.options import (
    ASSIGNED_CLIENT,
    ASSIGNED_HUB_CLIENT,
    CLIENT,
    DIAGNOSE,
    FLEET,
    HUB_CLIENT,
    LOCAL_DPS,
    LOCAL_HUB,
    PROVISION,
    REQUIRED,
    SYNC_ASSIGNED_CLIENT,
    SYNC_ASSIGNED_HUB_CLIENT,
    SYNC_CLIENT,
    SYNC_HUB_CLIENT,
    SYNC_LOCAL_DPS,
    SYNC_LOCAL_HUB,
    TELEMETRY,
    Table,
)

ASSIGNED = mqttws.Assignment("hub.example", "my-device", "", "my-device", "")

CALLS: dict[Callable[..., Any], Table] = {
    mqttws.AsyncClient: CLIENT,
    mqttws.Client: SYNC_CLIENT,
    mqttws.provision: PROVISION,
    mqttws.provision_async: PROVISION,
    mqttws.ProvisioningSteps: PROVISION,
    mqttws.provision_fleet: FLEET,
    mqttws.provision_fleet_async: FLEET,
    mqttws.diagnose: DIAGNOSE,
    mqttws.diagnose_async: DIAGNOSE,
    mqttws.AsyncLocalDps: LOCAL_DPS,
    mqttws.LocalDps: SYNC_LOCAL_DPS,
    mqttws.AsyncHubClient: HUB_CLIENT,
    mqttws.HubClient: SYNC_HUB_CLIENT,
    mqttws.AsyncLocalHub: LOCAL_HUB,
    mqttws.LocalHub: SYNC_LOCAL_HUB,
    ASSIGNED.client_async: ASSIGNED_CLIENT,
    ASSIGNED.client: SYNC_ASSIGNED_CLIENT,
    ASSIGNED.hub_client_async: ASSIGNED_HUB_CLIENT,
    ASSIGNED.hub_client: SYNC_ASSIGNED_HUB_CLIENT,
}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_signature_has_the_options_of_its_table_with_their_defaults(
    call: Callable[..., Any],
) -> None:
    parameters = inspect.signature(call).parameters
    table = CALLS[call]
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    assert set(parameters) - {"url"} == set(table)
    for name, option in table.items():
        default = parameters[name].default
        assert default == option.default or (
            default is inspect.Parameter.empty and option.default is REQUIRED
        ), name


MADE_FROM_TEXT: dict[Callable[..., Any], Table] = {
    mqttws.AsyncHubClient.from_connection_string: ASSIGNED_HUB_CLIENT.but("credential"),
    mqttws.HubClient.from_connection_string: SYNC_ASSIGNED_HUB_CLIENT.but("credential"),
    mqttws.AsyncHubClient.send_telemetry: TELEMETRY,
    mqttws.HubClient.send_telemetry: TELEMETRY,
    mqttws.AsyncHubClient.send_telemetry_nowait: TELEMETRY,
    mqttws.HubClient.send_telemetry_nowait: TELEMETRY,
}


@pytest.mark.parametrize("call", MADE_FROM_TEXT, ids=lambda call: call.__qualname__)
def test_other_calls_have_each_option_too(call: Callable[..., Any]) -> None:
    parameters = inspect.signature(call).parameters
    for name, option in MADE_FROM_TEXT[call].items():
        assert parameters[name].default == option.default, name
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def test_no_public_call_hides_an_argument() -> None:
    """``**options`` shows no option and no default in ``help()`` and in an editor.

    An ordered fault of a DPS has the members of its kind, which ``dps.faults`` describes.
    """
    hidden = []
    for public in mqttws.__all__:
        kind = getattr(mqttws, public)
        if inspect.isclass(kind) and issubclass(kind, mqttws.MqttwsError):
            continue  # made by the package; their fields are in the class's docstring
        members = [kind] + (
            [getattr(kind, name) for name in dir(kind) if not name.startswith("_")]
            if inspect.isclass(kind)
            else []
        )
        for member in members:
            if not callable(member) or (isinstance(member, type) and member is not kind):
                continue
            try:
                parameters = inspect.signature(member).parameters.values()
            except (TypeError, ValueError):  # an enum's
                continue
            if any(one.kind is one.VAR_KEYWORD for one in parameters):
                hidden.append(getattr(member, "__qualname__", public))
    assert hidden == ["LocalDps.fault", "DpsCalls.fault"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_each_default_is_allowed(call: Callable[..., Any]) -> None:
    for name, option in CALLS[call].items():
        if option.default is not REQUIRED:
            option.check(name, option.default)


def test_the_default_of_every_table_is_allowed_by_it() -> None:
    """A table does not look at a value that is its default."""
    tables = {name: value for name, value in vars(options).items() if isinstance(value, Table)}
    assert len(tables) > 50
    for table, its in tables.items():
        for name, option in its.items():
            assert option.default is REQUIRED or option.allows(option.default), f"{table}.{name}"


def test_the_longest_wait_is_an_hour_and_a_longer_one_is_refused() -> None:
    for table in (PROVISION, FLEET):
        table.check({"max_retry_after": 3600})
        with pytest.raises(
            mqttws.UsageError, match=r"max_retry_after: found 3601; .* at most 3600"
        ):
            table.check({"max_retry_after": 3601})
