"""LocalDps: a local DPS in a thread of its own, for programs and tests that are not async.

Whatever is asked of it is done in the service's own event loop; every wait is bounded.
"""

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..dps.issuance import CredentialPolicy
from ..dps.records import RegistrationRecord
from ..dps.store import Store
from ..dps.tables import AnyEnrollment
from ..errors import ConnectionLost, UsageError
from ..hops import Cause
from ..loop_thread import LoopThread
from ..options import AFTER, RUN, SYNC_LOCAL_DPS, WAIT_FOR
from .dps import DEFAULT_HUB, DEFAULT_ID_SCOPE, AsyncLocalDps, WayToDps
from .dps_events import DpsEvent
from .dps_policies import OWNER
from .threaded import TIMEOUT, Threaded
from .x509 import Issued

_T = TypeVar("_T")


class LocalDps(Threaded):
    """A local DPS that runs in a thread until it is stopped.

    >>> with LocalDps() as dps:
    ...     key = dps.enroll_device("my-device")
    ...     provision(dps.id_scope, SymmetricKey("my-device", key), **dps.options)

    Args:
        thread: a ``LoopThread`` to share with others; None for one of its own.

    The others are those of ``AsyncLocalDps``; ``retry_after`` is 0 where it is not given.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        wss_port: int | None = 0,
        mqtts_port: int | None = 0,
        state: str | os.PathLike[str] | None = None,
        id_scope: str = DEFAULT_ID_SCOPE,
        enrollments: Sequence[AnyEnrollment] = (),
        first_enrollments: Sequence[AnyEnrollment] = (),
        records: str | os.PathLike[str] | Store | None = None,
        hubs: Sequence[str] | Mapping[str, int] = (DEFAULT_HUB,),
        retry_after: int = 0,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        fault_seed: int | None = None,
        lenient: bool = False,
        credential_policies: Sequence[CredentialPolicy] = (),
        issuing_ca: str | os.PathLike[str] | None = None,
        connection_profiles: Mapping[str, str] | None = None,
        thread: LoopThread | None = None,
    ) -> None:
        options = SYNC_LOCAL_DPS.check(locals())
        del options["thread"]
        self._dps = AsyncLocalDps(**options)
        super().__init__(self._dps)
        self._given_thread = thread
        self._thread: LoopThread | None = None  # while it runs

    def __repr__(self) -> str:
        return f"<LocalDps {self.host} wss {self.wss_port} mqtts {self.mqtts_port}>"

    # Where it is

    @property
    def id_scope(self) -> str:
        """The id scope of this instance."""
        return self._dps.id_scope

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file."""
        return self._dps.ca_file

    @property
    def options(self) -> WayToDps:
        """The arguments of ``provision`` that lead here, over WebSocket; only its CA is trusted."""
        return self._dps.options

    def service_connection_string(self, policy: str = OWNER) -> str:
        """Return the connection string of the service API; see ``AsyncLocalDps``."""
        return self._dps.service_connection_string(policy)

    # Its settings

    def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device or a group register; see ``AsyncLocalDps.enroll``."""
        self.run(partial(self._dps.enroll, record, replace=replace))

    def keep(self, enrollment: AnyEnrollment, *, replace: bool = False) -> None:
        """Take an enrollment that has been read already; otherwise like ``enroll``."""
        self.run(partial(self._dps.keep, enrollment, replace=replace))

    def enroll_once(self, enrollments: Sequence[AnyEnrollment]) -> list[str]:
        """Enroll those whose ids the records have never held; return the ids of the others."""
        return self.run(partial(self._dps.enroll_once, enrollments))

    def enroll_device(self, registration_id: str, *, credential_policy: str = "") -> str:
        """Enroll one device with fresh keys; see ``AsyncLocalDps.enroll_device``."""
        enroll = self._dps.enroll_device
        return self.run(partial(enroll, registration_id, credential_policy=credential_policy))

    def enroll_group(self, enrollment_group_id: str) -> str:
        """Enroll a group of devices with fresh keys; see ``AsyncLocalDps.enroll_group``."""
        return self.run(partial(self._dps.enroll_group, enrollment_group_id))

    def enroll_certificate(self, registration_id: str, *, group: str = "") -> Issued:
        """Enroll a device by a certificate; see ``AsyncLocalDps.enroll_certificate``."""
        return self.run(partial(self._dps.enroll_certificate, registration_id, group=group))

    def delete(self, name: str, *, group: bool = False) -> None:
        """Delete an enrollment; what has been registered stays."""
        self.run(partial(self._dps.delete, name, group=group))

    def disable(self, name: str, *, group: bool = False) -> None:
        """Let a device, or the devices of a group, register no more."""
        self.run(partial(self._dps.disable, name, group=group))

    def enable(self, name: str, *, group: bool = False) -> None:
        """Let a device, or the devices of a group, register again."""
        self.run(partial(self._dps.enable, name, group=group))

    def enrolled(self) -> list[dict[str, Any]]:
        """Return every enrollment and group in the shape of the service API, without keys."""
        return self.run(self._dps.enrolled)

    def registrations(self) -> list[RegistrationRecord]:
        """Return the registration record of every device that is assigned."""
        return self.run(self._dps.registrations)

    # What it has seen

    def events(self, after: int | None = None) -> Iterator[DpsEvent]:
        """Yield the service's events; see ``AsyncLocalDps.events``.

        It waits for the next one as long as it takes; it ends with the service.
        """
        AFTER.check(locals())
        return self._events(after)

    def _events(self, after: int | None) -> Iterator[DpsEvent]:
        stream: list[AsyncIterator[DpsEvent]] = []

        async def following() -> DpsEvent | None:
            if not stream:
                stream.append(self._dps.events(after))
            return await anext(stream[0], None)

        with suppress(ConnectionLost):  # the service has ended
            while (event := self.run(following, None)) is not None:
                yield event

    def seen(
        self, kind: str | None = None, device: str | None = None, after: int = 0
    ) -> list[DpsEvent]:
        """Return the events so far; see ``AsyncLocalDps.seen``."""
        return self._dps.seen(kind, device, after)

    def wait_for(
        self,
        kind: str,
        device: str | None = None,
        after: int = 0,
        timeout: float | None = 10.0,
    ) -> DpsEvent:
        """Return the first event of a kind; see ``AsyncLocalDps.wait_for``."""
        WAIT_FOR.check(locals())
        limit = None if timeout is None else TIMEOUT + timeout
        return self.run(lambda: self._dps.wait_for(kind, device, after, timeout), limit)

    def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Order a fault; see ``AsyncLocalDps.fault``."""
        return self.run(partial(self._dps.fault, kind, device, **members))

    def restart(self, seconds: float) -> None:
        """Stop serving, and come back ``seconds`` later; see ``AsyncLocalDps.restart``."""

        async def restart() -> None:
            self._dps.restart(seconds)

        self.run(restart)

    def cancel_faults(self) -> None:
        """Cancel every ordered fault."""
        self.run(self._dps.cancel_faults)

    def reset(self) -> int:
        """Forget devices and ordered faults, the hubs' too; see ``AsyncLocalDps.reset``."""
        return self.run(self._dps.reset)

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""
        return self.run(partial(self._dps.registration, registration_id))

    def run(
        self, work: Callable[[], Coroutine[Any, Any, _T]], timeout: float | None = TIMEOUT
    ) -> _T:
        """Run a coroutine in the service's loop and return its result.

        Args:
            work: makes the coroutine, on the loop.
            timeout: seconds; None to wait as long as it takes.

        Raises:
            UsageError: the service is not running.
            RequestTimedOut: it was not done in time.
        """
        RUN.check({"work": work, "timeout": timeout})
        if self._thread is None:
            raise UsageError("the local DPS is not running", cause=Cause.WRONG_MOMENT)
        return self._thread.call(work, timeout)

    def _begin(self) -> None:
        if self._thread is not None:
            raise UsageError("the local DPS has been started already", cause=Cause.WRONG_MOMENT)
        self._thread = self._given_thread or LoopThread("mqttws-dps")

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and thread is not self._given_thread:
            thread.close()

    def _is_running(self) -> bool:
        return self._thread is not None and not self._thread.forked
