"""What a local DPS says where another client changes an enrollment at the same moment."""

import pytest

from mqttws import AsyncLocalDps, UsageError


async def test_a_change_that_another_one_overtook_is_told(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def void(*_: object, **__: object) -> bool:
        return False

    async with local_dps as dps:
        await dps.enroll_device("dev")
        monkeypatch.setattr(dps.enrollments, "change", void)
        monkeypatch.setattr(dps.enrollments, "remove", void)
        for call in (dps.delete, dps.disable, dps.enable):
            with pytest.raises(UsageError, match="at the same moment"):
                await call("dev")
