"""The service's loop: load what concerns a device, decide, commit, answer.

Messages in, effects out. Knows the store, and that a faster commit makes a decision void. Does
not know the rules (``decisions``), nor how messages travel. The same loop serves every listener and
any number of processes over one store.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ..errors import StoreFailed
from .allocation import WebhookAnswer
from .answers import Rejection, rejected
from .certificates import Chain, ChainReader
from .codes import STORE_UNAVAILABLE, THROTTLED
from .decisions import Decision, Ids, admit, allocated, decide, read_request
from .directory import place_of
from .effects import AllocationRequested, Answer, Assigned, Close, Device, Effect, Refusal
from .group_index import GroupIndex
from .issuance import CertificateWanted, Issued, NotIssued
from .known_groups import KnownGroups, Wanted, named_groups
from .records import DeviceRecord, EnrollmentGroup, Groups, IndividualEnrollment, Snapshot
from .settings import Settings
from .store import Check, Store, Write
from .tables import DEVICES, GROUPS_MARK, INDIVIDUALS, MARKS
from .topics import Message, Register, Request

MAX_ATTEMPTS = 10
"""Decisions about one request: each but the last was void because another one was faster."""

BUSY_RETRY_AFTER = 2
"""Seconds that a device is asked to wait when its records cannot be read or written."""


@dataclass
class Counts:
    """Counters since the start.

    Attributes:
        conflicts: decisions that were void.
        given_up: requests that were given up after ``MAX_ATTEMPTS`` of them.
        store_failures: requests that the store failed.
    """

    conflicts: int = 0
    given_up: int = 0
    store_failures: int = 0


class Issuer(Protocol):
    """The CA of an instance."""

    async def issue(self, wanted: CertificateWanted) -> Issued | NotIssued:
        """Issue a certificate, or refuse its request."""


class _Loaded(NamedTuple):
    """A snapshot, and the versions of what it holds."""

    snapshot: Snapshot
    device_version: int
    individual_version: int


class Handled(NamedTuple):
    """A message that has been served.

    Attributes:
        effects: for the connection.
        proved_at: the time, by the store's clock, at which it proved the device's identity; None
            where it proved nothing.
        assigned: the registration that it ended; None for none.
    """

    effects: list[Effect]
    proved_at: float | None = None
    assigned: Assigned | None = None


class Service:
    """A DPS instance over a store.

    Args:
        settings: of the instance.
        store: open.
        operation_ids: endless, each one different.
        tracking_ids: endless; one goes into each error answer.
        issuer: of certificates; None where there is no credential policy.
        chains: finds enrolled certificates above those that a device has shown; None where it
            shows them all.

    Attributes:
        settings: of the instance.
        counts: of conflicts and failures.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        operation_ids: Iterator[str],
        tracking_ids: Iterator[str],
        issuer: Issuer | None = None,
        chains: ChainReader | None = None,
    ) -> None:
        self.settings = settings
        self.counts: Counts = Counts()
        self._store = store
        self._operation_ids = operation_ids
        self._tracking_ids = tracking_ids
        self._issuer = issuer
        self._chains = chains
        self._index = GroupIndex(store, chains)
        self._groups = KnownGroups(self._index)

    def admit(
        self,
        client_id: str,
        username: str | None,
        password: bytes | None,
        chain: Chain = (),
    ) -> Device | Refusal:
        """Judge a CONNECT by its names; see ``decisions.admit``."""
        return admit(self.settings, client_id, username, password, chain)

    async def handle(self, device: Device, message: Message, qos: int) -> Handled:
        """Serve a message of a device; see ``serve``.

        Args:
            device: from ``admit``.
            message: what it published.
            qos: of the message.
        """
        request = read_request(message, qos)
        if isinstance(request, Close):
            return Handled([request])
        return await self.serve(device, request, message.payload)

    async def serve(self, device: Device, request: Request, body: bytes) -> Handled:
        """Serve a request of a device.

        What it changed has been committed when this returns. A store that fails is answered 503,
        and the device comes again.

        Args:
            device: from ``admit``.
            request: what it asks for.
            body: of the request.
        """
        registers = isinstance(request, Register)
        ids = Ids(next(self._operation_ids) if registers else "", next(self._tracking_ids))
        try:
            wait = await self._take(request, device)
            if wait:
                reason = f"ask again in {wait} s"
                rejection = Rejection(THROTTLED, "Too many requests.", reason, wait)
            else:
                return await self._decide(device, request, body, ids)
        except StoreFailed as failure:
            self.counts.store_failures += 1
            rejection = _unavailable(str(failure))
        now = await self._now()
        return Handled([rejected(request, rejection, ids.tracking_id, now)])

    async def _decide(self, device: Device, request: Request, payload: bytes, ids: Ids) -> Handled:
        """Decide until nothing has moved meanwhile, and commit."""
        wanted, issued = None, None
        for _ in range(MAX_ATTEMPTS):
            loaded = await self._load(device)
            device = self._with_whole_chain(device, loaded.snapshot)
            decision = decide(self.settings, loaded.snapshot, device, request, payload, ids)
            if decision.wanted is not None:
                assert self._issuer is not None, "a policy has an issuer"
                if decision.wanted != wanted:  # the same for each decision about a request, mostly
                    wanted, issued = decision.wanted, await self._issuer.issue(decision.wanted)
                decision = decide(
                    self.settings, loaded.snapshot, device, request, payload, ids, issued
                )
            if await self._commit(device.registration_id, loaded, decision):
                assigned = _assigned(loaded.snapshot, decision.changed, device.chain)
                proved_at = None if decision.proof is None else loaded.snapshot.now
                return Handled(decision.effects, proved_at, assigned)
            self.counts.conflicts += 1
        self.counts.given_up += 1
        raise StoreFailed(f"{MAX_ATTEMPTS} times another request was faster")

    def _with_whole_chain(self, device: Device, snapshot: Snapshot) -> Device:
        """Return a device whose chain goes up to an enrolled certificate, if there is one."""
        if not device.shows_chain or self._chains is None:
            return device
        of: IndividualEnrollment | Groups = snapshot.individual or snapshot.groups
        if any(certificate.sha256 in of.fingerprints for certificate in device.chain):
            return device
        return replace(device, chain=self._chains.continued(device.chain, of.certificates))

    def refuse(
        self,
        request: Request,
        error_code: int,
        unix_now: float,
        *,
        message: str = "Ordered fault.",
        retry_after: int | None = None,
    ) -> Answer:
        """Return an error answer to a request that is not looked at: an ordered fault."""
        rejection = Rejection(error_code, message, retry_after=retry_after)
        return rejected(request, rejection, next(self._tracking_ids), unix_now)

    async def allocated(
        self, request: AllocationRequested, status: int, answer: bytes
    ) -> Assigned | None:
        """End an operation by a webhook's answer; return the assignment, if there is one.

        Args:
            request: the effect that asked for it.
            status: of the webhook's answer, as in HTTP; 0 where there was none.
            answer: its body.

        Raises:
            StoreFailed: the store failed; the operation ends after ``ALLOCATION_TIMEOUT``.
        """
        registration_id = request.device.registration_id
        for _ in range(MAX_ATTEMPTS):
            loaded = await self._load(request.device)
            told = WebhookAnswer(status, answer)
            changed = allocated(self.settings, loaded.snapshot, request, told)
            if await self._commit(registration_id, loaded, Decision([], changed)):
                return _assigned(loaded.snapshot, changed, request.device.chain)
            self.counts.conflicts += 1
        raise StoreFailed(f"{MAX_ATTEMPTS} times another request was faster")

    # The store

    async def _take(self, request: Request, device: Device) -> int:
        """Count a request; return 0, or the seconds to wait if there have been too many."""
        if isinstance(request, Register):
            limit, bucket, seconds = self.settings.registers_per_minute, "register", 60
        else:
            limit, seconds = self.settings.polls_per_10s, 10
            bucket = f"poll {device.registration_id.lower()}"
        return 0 if limit is None else await self._store.take(bucket, limit, seconds)

    async def _load(self, device: Device) -> _Loaded:
        key = device.registration_id.lower()
        for _ in range(MAX_ATTEMPTS):
            loaded = await self._store.load(
                (DEVICES, key), (INDIVIDUALS, key), (MARKS, GROUPS_MARK)
            )
            own, individual, mark = loaded.rows
            groups = self._groups
            if groups.version != mark.version:
                groups = self._groups = KnownGroups(self._index, mark.version)
            record = own.value or DeviceRecord()
            wanted = _wanted_groups(device, individual.value, record)
            found = groups.find(wanted)
            if found is not None:
                snapshot = Snapshot(record, individual.value, found.groups, loaded.now, found.named)
                return _Loaded(snapshot, own.version, individual.version)
            await groups.read(wanted)  # and once more: all shall be of one moment
        raise StoreFailed("the enrollment groups change faster than they can be read")

    async def _commit(self, registration_id: str, loaded: _Loaded, decision: Decision) -> bool:
        """Write what a decision changes, if nothing that it was decided by has moved."""
        if decision.changed is None:
            return True
        key = registration_id.lower()
        checks = []
        if decision.proof is not None:
            checks.append(Check(INDIVIDUALS, key, loaded.individual_version))
            table, name = place_of(decision.proof.enrollment)
            if not isinstance(decision.proof.enrollment, IndividualEnrollment):
                version = loaded.snapshot.groups.versions[name]
                checks.append(Check(table, name, version))
        write = Write(DEVICES, key, decision.changed, loaded.device_version)
        return await self._store.commit([write], checks)

    async def _now(self) -> float:
        """Return the store's time; 0 where it cannot be asked."""
        try:
            return (await self._store.load()).now
        except StoreFailed:
            return 0.0


def _wanted_groups(
    device: Device, individual: IndividualEnrollment | None, record: DeviceRecord
) -> Wanted:
    """Return the groups that a device may be of: none where it has an enrollment of its own."""
    by_chain = individual is None and device.shows_chain and not device.chain[0].fault
    return Wanted(
        individual is None and not device.shows_chain,
        device.chain if by_chain else (),
        named_groups(record),
    )


def _assigned(snapshot: Snapshot, changed: DeviceRecord | None, chain: Chain) -> Assigned | None:
    """Return the assignment that a change makes; None for none."""
    before = snapshot.device.registration
    after = None if changed is None else changed.registration
    if after is None or after == before:
        return None
    enrollment: IndividualEnrollment | EnrollmentGroup | None = snapshot.individual
    if after.enrollment_group_id:
        enrollment = snapshot.group(after.enrollment_group_id)
    return None if enrollment is None else Assigned(after, before, enrollment, chain)


def _unavailable(reason: str) -> Rejection:
    message = "The service is unavailable."
    return Rejection(STORE_UNAVAILABLE, message, reason, BUSY_RETRY_AFTER)
