"""A fixture of tests in which no host is known."""

from collections.abc import Iterator

import pytest

from mqttws.provisioning import plan


@pytest.fixture
def nothing_known() -> Iterator[None]:
    """Have the process remember nothing of any host, before the test and after it."""
    known = (plan._worked, plan._in_turn, plan._uncapped)
    for each in known:
        each.clear()
    yield
    for each in known:
        each.clear()
