"""Options: one table for all calls, and a UsageError for each wrong value."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import mqttws
from mqttws.options import (
    CLIENT,
    DIAGNOSE,
    FLEET,
    HUB_CLIENT,
    LOCAL_DPS,
    PROVISION,
    REQUIRED,
    SYNC_CLIENT,
    SYNC_HUB_CLIENT,
    SYNC_LOCAL_DPS,
    Table,
)

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


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_each_default_is_allowed(call: Callable[..., Any]) -> None:
    for name, option in CALLS[call].items():
        if option.default is not REQUIRED:
            option.check(name, option.default)
