"""ProvisioningSteps: a registration, step by step, to be iterated over.

Knows that ``provision_async`` calls a function with each step. Does not know what a step does.
"""

import asyncio
import os
from dataclasses import replace
from types import TracebackType
from typing import Self

from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION
from ..dps.registration import MAX_RETRY_AFTER
from ..errors import UsageError
from ..net.hops import OnStep, Step
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import PROVISION, PROVISIONING_HOST, WEBSOCKET_PATH
from .assignment import Assignment
from .credentials import Credential
from .issued import CertificateStore
from .plan import Pipelined, Transport
from .provision import provision_async


class ProvisioningSteps:
    """A registration as an async iterator of its steps, those that ``on_step`` gets.

    >>> async with mqttws.ProvisioningSteps("0ne00ABCDEF", credential) as steps:
    ...     async for step in steps:
    ...         print(step.name, step.outcome)
    >>> print(steps.assignment.assigned_hub)

    Each step comes twice, as it was then: when it begins (``outcome`` is ``open``) and when it has
    ended. After the last one the iteration ends, or raises what ``provision_async`` would have
    raised. Leaving the ``async with`` block before that gives the registration up, and
    nothing of it is left behind.

    Args: those of ``provision_async``.
    """

    def __init__(
        self,
        id_scope: str,
        credential: Credential,
        *,
        host: str = PROVISIONING_HOST,
        port: int | None = None,
        path: str = WEBSOCKET_PATH,
        transport: Transport = "wss",
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        payload: object = None,
        timeout: float = 120.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        api_version: str = DEFAULT_API_VERSION,
        jitter: float = 0.0,
        max_retry_after: float = MAX_RETRY_AFTER,
        pipelined: Pipelined = None,
        wait_for_network: bool = False,
        cache: str | os.PathLike[str] | None = None,
        force: bool = False,
        issue: CertificateStore | None = None,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
    ) -> None:
        self._options = PROVISION.check(locals())
        self._watcher = on_step
        self._steps: asyncio.Queue[Step | None] = asyncio.Queue()  # None: there are no more
        self._task: asyncio.Task[Assignment] | None = None

    @property
    def assignment(self) -> Assignment:
        """The device's assignment.

        Raises:
            UsageError: the registration has not ended, or was given up.
            MqttwsError: it has failed; as for ``provision_async``.
        """
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise UsageError(
                "there is no assignment: the registration has not ended",
                hint="iterate over all steps first",
            )
        return self._task.result()

    async def __aenter__(self) -> Self:
        """Begin."""
        if self._task is not None:
            raise UsageError("these steps have been gone already; make a new ProvisioningSteps")
        self._task = asyncio.create_task(
            provision_async(**self._options | {"on_step": self._on_step})
        )
        self._task.add_done_callback(lambda _: self._steps.put_nowait(None))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the registration up, if it has not ended."""
        assert self._task is not None
        self._task.cancel()
        # Its outcome is asked for elsewhere, or not at all.
        await asyncio.gather(self._task, return_exceptions=True)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Step:
        """Return the next step."""
        if self._task is None:
            raise UsageError("use `async with ProvisioningSteps(...) as steps:` first")
        step = await self._steps.get()
        if step is not None:
            return step
        self._steps.put_nowait(None)  # a caller that asks again gets the same
        if not self._task.cancelled():
            self._task.result()
        raise StopAsyncIteration

    def _on_step(self, step: Step) -> None:
        # A step goes on changing: what is handed out is how it is now.
        self._steps.put_nowait(replace(step, facts=dict(step.facts)))
        if self._watcher is not None:
            self._watcher(step)
