"""Groups are found by what signs for their devices, at a cost that does not grow with them."""

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from mqttws import AsyncLocalDps
from mqttws.dps import group_index, known_groups
from mqttws.dps.answers import Rejection
from mqttws.dps.authentication import authenticate
from mqttws.dps.certificates import Chain
from mqttws.dps.directory import Directory, place_of
from mqttws.dps.effects import Answer, Device
from mqttws.dps.records import DeviceRecord, EnrollmentGroup, Groups, Snapshot
from mqttws.dps.sas import derive_device_key, sign_token
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.store import Check, Loaded, Page, Row, Store, Table, Write
from mqttws.dps.tables import DEVICES, GROUPS, INDEXED_MARK, MARKS, OLD_GROUPS_MARK, SIGNERS
from mqttws.dps.topics import Message, register_topic
from mqttws.errors import StoreDamaged
from mqttws.local import chains as chains_module
from mqttws.local.chains import EnrolledChains, read_chain
from mqttws.local.stores import open_store, sqlite_file
from mqttws.local.x509 import DeviceAuthority, read_certificate

from ..x509_world import group, register
from .conftest import MakeStore, clear, opened

SETTINGS = Settings("0ne00LOCAL", ("hub.example",))
ROOT = DeviceAuthority.root("root")
MIDDLE = ROOT.intermediate("middle")
LINE = MIDDLE.intermediate("line")
TWIN = DeviceAuthority.root("root")  # its name, another key
OTHER = TWIN.intermediate("middle")


def der(authority: DeviceAuthority) -> bytes:
    return read_certificate(authority.pem)


def signed(name: str, *ders: bytes) -> EnrollmentGroup:
    primary, secondary = (*ders, b"")[:2]
    return EnrollmentGroup(
        primary_certificate=primary, secondary_certificate=secondary, enrollment_group_id=name
    )


def keyed(name: str, key: bytes = b"k" * 32) -> EnrollmentGroup:
    return EnrollmentGroup(primary_key=key, enrollment_group_id=name)


def shown(name: str, issuer: DeviceAuthority, *above: DeviceAuthority) -> Chain:
    own = read_certificate(issuer.issue(name).certificate)
    return read_chain([own, *map(der, above)])


def by_chain(chain: Chain) -> Device:
    return Device(chain[0].common_name, SETTINGS.id_scope, "2021-06-01", None, chain)


def by_key(name: str, key: bytes) -> Device:
    word = sign_token(f"0ne00LOCAL/registrations/{name}", derive_device_key(key, name), 1 << 40)
    return Device(name, SETTINGS.id_scope, "2021-06-01", word)


class Counted:
    """A store that counts the rows that it gives and takes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows = 0

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        self.rows += len(keys)
        return await self._store.load(*keys)

    async def page(self, *given: Any, **options: Any) -> Page:
        found = await self._store.page(*given, **options)
        self.rows += len(found.items)
        return found

    async def find(self, *given: Any) -> Sequence[tuple[str, Row]]:
        found = await self._store.find(*given)
        self.rows += len(found)
        return found

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        self.rows += len(writes)
        return await self._store.commit(writes, checks)


def service(store: Any) -> Service:
    ids = (f"op-{number}" for number in itertools.count())
    return Service(
        SETTINGS,
        store,
        operation_ids=ids,
        tracking_ids=itertools.repeat("track"),
        chains=EnrolledChains(),
    )


async def answer(front_end: Service, device: Device) -> tuple[int, Any]:
    """Register; return the status and the body of the answer."""
    (effect,) = (await front_end.handle(device, Message(register_topic("1")), 1)).effects
    assert isinstance(effect, Answer)
    return effect.status, json.loads(effect.message.payload)


async def put(store: Any, *groups: EnrollmentGroup) -> None:
    directory = Directory(store, EnrolledChains())
    for one in groups:
        row = await directory.row(*place_of(one))
        assert await directory.put(one, row)


@pytest.fixture(scope="module")
def strangers() -> list[bytes]:
    return [der(DeviceAuthority.root(f"stranger {number}")) for number in range(120)]


async def test_what_is_read_for_a_device_does_not_grow_with_the_groups(
    make_store: MakeStore, strangers: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and certificates, counted, of each first device of a front end that has just begun."""
    read: list[bytes] = []
    real = x509.load_der_x509_certificate

    def counting(data: bytes) -> x509.Certificate:
        read.append(data)
        return real(data)

    cases = {
        "root is enrolled, and not shown": (shown("a", LINE, LINE, MIDDLE), 202),
        "shown alone": (shown("b", ROOT), 202),
        "an enrolled one is shown": (shown("c", LINE, LINE, MIDDLE, ROOT), 202),
        "stranger": (shown("d", TWIN, TWIN), 401),
        "other name": (shown("e", DeviceAuthority.root("unknown")), 401),
    }
    monkeypatch.setattr(chains_module.x509, "load_der_x509_certificate", counting)
    costs: dict[str, set[tuple[int, int]]] = {name: set() for name in cases}
    async with opened(make_store()) as store:
        await put(store, signed("fleet", der(ROOT)))
        for few, many in ((0, 20), (20, 120)):
            new = range(few, many)
            await put(store, *(signed(f"s-{number}", strangers[number]) for number in new))
            for name, (chain, status) in cases.items():
                chains_module._read.cache_clear()
                chains_module._has_signed.cache_clear()
                read.clear()
                counted = Counted(store)
                device = by_chain(chain)
                assert (await answer(service(counted), device))[0] == status, name
                costs[name].add((counted.rows, len(read)))
                await store.commit([Write(DEVICES, device.registration_id, None)])
    for name, found in costs.items():
        assert len(found) == 1, (name, found)
        ((rows, certificates),) = found
        assert rows < 15, name
        assert certificates < 8, name


async def test_a_device_with_a_certificate_reads_no_group_with_keys(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        await put(store, signed("fleet", der(ROOT)), *(keyed(f"k-{n}") for n in range(30)))
        counted = Counted(store)
        front_end = service(counted)
        assert (await answer(front_end, by_chain(shown("a", ROOT, ROOT))))[0] == 202
        assert counted.rows < 15
        assert (await answer(front_end, by_key("b", b"k" * 32)))[0] == 202
        once = counted.rows
        assert once > 30
        assert (await answer(front_end, by_key("c", b"k" * 32)))[0] == 202
        assert counted.rows - once < 15, "those with keys are kept"


def forest(chance: random.Random) -> list[EnrollmentGroup]:
    made = []
    for number in range(chance.randint(0, 5)):
        of = chance.sample([ROOT, MIDDLE, LINE, TWIN, OTHER], chance.randint(1, 2))
        made.append(signed(f"g{number}", *map(der, of)))
    if chance.random() < 0.5:
        made.append(keyed("keyed"))
    return made


def judged_by_all(groups: list[EnrollmentGroup], chain: Chain, now: float) -> str | int:
    """Return the group that lets a device in if all are looked at, or the status."""
    every = Groups(1, tuple(groups))
    device = by_chain(chain)
    if not any(one.sha256 in every.fingerprints for one in chain):
        device = by_chain(EnrolledChains().continued(chain, every.certificates))
    try:
        snapshot = Snapshot(DeviceRecord(), None, every, now)
        proof = authenticate(SETTINGS, snapshot, device)
    except Rejection as rejection:
        return rejection.error_code // 1000
    assert isinstance(proof.enrollment, EnrollmentGroup)
    return proof.enrollment.enrollment_group_id


@pytest.mark.parametrize("seed", range(40))
async def test_a_group_is_found_as_if_all_were_looked_at(seed: int) -> None:
    """Any certificate of a chain may be enrolled, at any height, shown or not; the names of two
    CAs may be the same, and groups change while front ends run."""
    chance = random.Random(seed)
    async with opened(open_store(None)) as store:
        front_end = service(store)
        there: dict[str, EnrollmentGroup] = {}
        for turn in range(4):
            for one in forest(chance):
                there[one.enrollment_group_id] = one
                await put(store, one)
            if there and chance.random() < 0.5:
                gone = there.pop(chance.choice(sorted(there)))
                directory = Directory(store, EnrolledChains())
                assert await directory.remove(gone, await directory.row(*place_of(gone)))
            for number in range(4):
                issuer, *above = chance.choice(
                    [(ROOT,), (MIDDLE, MIDDLE, ROOT), (LINE, LINE, MIDDLE, ROOT), (OTHER, OTHER)]
                )
                above = [one for one in above if chance.random() < 0.6]
                chance.shuffle(above)
                chain = shown(f"d-{turn}-{number}", issuer, *above)
                ordered = [there[name] for name in sorted(there)]
                expected = judged_by_all(ordered, chain, (await store.load()).now)
                status, _ = await answer(front_end, by_chain(chain))
                found: Any = status
                if status == 202:
                    record = await Directory(store).registration(chain[0].common_name)
                    assert record is not None
                    found = record.enrollment_group_id
                assert found == expected, (turn, number)


async def test_rows_go_with_what_they_say(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        directory = Directory(store, EnrolledChains())

        async def names() -> set[str]:
            return {row.value.name.split()[0] for _, row in (await store.page(SIGNERS)).items}

        await put(store, signed("g", der(ROOT), der(MIDDLE)))
        assert len((await store.page(SIGNERS)).items) == 4
        await put(store, signed("g", der(MIDDLE)))
        assert len((await store.page(SIGNERS)).items) == 2
        await put(store, keyed("G"))
        assert await names() == {"keys"}
        row = await directory.row(GROUPS, "g")
        assert await directory.remove(row.value, row)
        assert await names() == set()


async def test_a_row_that_outlives_its_group_lets_no_one_in(make_store: MakeStore) -> None:
    """Of two clients that replace a group whatever it holds, the slower one knows an old one."""
    async with opened(make_store()) as store:
        directory = Directory(store, EnrolledChains())
        await put(store, signed("g", der(MIDDLE)))
        before = await directory.row(GROUPS, "g")
        assert await directory.put(signed("g", der(ROOT)), before, any_version=True)
        assert await directory.put(keyed("g"), before, any_version=True)
        left = (await store.page(SIGNERS)).items
        assert {row.value.name.split()[0] for _, row in left} == {"keys", "sha256", "subject"}
        assert (await answer(service(store), by_chain(shown("a", ROOT, ROOT))))[0] == 404
        assert (await answer(service(store), by_key("b", b"k" * 32)))[0] == 202
        await put(store, signed("above", der(TWIN)))
        await put(store, signed("mid", der(OTHER)))
        old = await directory.row(GROUPS, "mid")
        assert await directory.put(keyed("mid"), old._replace(value=None), any_version=True)
        chain = shown("c", OTHER, OTHER)  # "mid" held its CA once; "above" holds the next one
        assert (await answer(service(store), by_chain(chain)))[0] == 202


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_index, "_INDEXED_AT_ONCE", 2)


def as_of_old(*groups: EnrollmentGroup) -> list[Write]:
    """Return what a version of this program without an index writes."""
    rows = [Write(GROUPS, one.enrollment_group_id.lower(), one) for one in groups]
    return [*rows, Write(MARKS, OLD_GROUPS_MARK, 1)]


@pytest.mark.usefixtures("small_pages")
async def test_groups_of_an_older_version_are_indexed_at_the_start(
    make_store: MakeStore, dps_state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those that it writes while a front end of this one runs beside it: at the next start."""
    caplog.set_level("INFO", "mqttws.local")
    others = [signed(f"o{number}", der(OTHER)) for number in range(4)]
    async with opened(make_store()) as store:
        await store.commit(as_of_old(signed("Fleet", der(ROOT)), *others))
        options: dict[str, Any] = {"state": dps_state, "retry_after": 0}
        async with AsyncLocalDps(records=make_store(), **options) as dps:
            await register(dps, MIDDLE.issue("dev-1"))
            await dps.enroll(group("new", DeviceAuthority.root("new")))
            assert "5 indexed" in caplog.text
            await store.commit(as_of_old(signed("late", der(TWIN)), keyed("late-too")))
        async with AsyncLocalDps(records=make_store(), **options) as dps:
            await register(dps, TWIN.issue("dev-2"))
            assert "8 indexed" in caplog.text
        caplog.clear()
        async with AsyncLocalDps(records=make_store(), **options) as dps:
            await register(dps, TWIN.issue("dev-3"))
        assert "indexed" not in caplog.text
        mark, indexed = (await store.load((MARKS, OLD_GROUPS_MARK), (MARKS, INDEXED_MARK))).rows
        assert indexed.value == mark.version


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_older_version_refuses_records_with_an_index(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would find no group; records of its own are taken over."""
    module, old, records = sqlite_file, 2, str(tmp_path / "records")
    if kind == "postgres":
        running = request.getfixturevalue("postgres")
        clear(running)
        module, old, records = (
            pytest.importorskip("mqttws.local.stores.postgres_schema"),
            1,
            running.url,
        )
    new = module.SCHEMA_VERSION
    monkeypatch.setattr(module, "SCHEMA_VERSION", old)
    async with opened(open_store(records)) as store:
        await store.commit(as_of_old(signed("fleet", der(ROOT))))
    monkeypatch.setattr(module, "SCHEMA_VERSION", new)
    async with opened(open_store(records)) as store:
        assert await Directory(store, EnrolledChains()).index_groups() == 1
    monkeypatch.setattr(module, "SCHEMA_VERSION", old)
    with pytest.raises(StoreDamaged, match=f"schema {new}"):
        await open_store(records).open()


class Overtaken(Counted):
    """A store in which groups change between the reading of a page and its commit."""

    def __init__(self, store: Store, changes: Iterator[list[Write]]) -> None:
        super().__init__(store)
        self._changes = changes

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        if checks:
            await self._store.commit(next(self._changes, []))
        return await super().commit(writes, checks)


@pytest.mark.usefixtures("small_pages")
async def test_groups_that_change_while_they_are_indexed_are_read_again(
    make_store: MakeStore,
) -> None:
    async with opened(make_store()) as store:
        await store.commit(as_of_old(*(signed(f"g{number}", der(ROOT)) for number in range(5))))
        changes = [
            [Write(GROUPS, "g1", None)],
            [Write(GROUPS, "g0", signed("g0", der(TWIN)))],
            [],
            [Write(GROUPS, "g4", keyed("g4"))],
        ]
        overtaken: Any = Overtaken(store, iter(changes))
        assert await Directory(overtaken, EnrolledChains()).index_groups() == 4
        there = [row.value for _, row in (await store.page(SIGNERS)).items]
        assert len(there) == 2 + 2 + 2 + 1
        assert {one.group for one in there if one.name == "keys"} == {"g4"}
        assert (await answer(service(store), by_chain(shown("a", TWIN, TWIN))))[0] == 202


async def test_a_group_that_only_the_record_of_a_device_names_is_known(
    make_store: MakeStore,
) -> None:
    """A device of a group with certificates comes with a token later."""
    async with opened(make_store()) as store:
        await put(store, signed("certified", der(ROOT)), keyed("keyed"))
        front_end = service(store)
        assert (await answer(front_end, by_chain(shown("dev", ROOT, ROOT))))[0] == 202
        assert (await answer(front_end, by_key("dev", b"k" * 32)))[0] == 202
        record = await Directory(store).registration("dev")
        assert record is not None
        assert record.enrollment_group_id == "keyed"
        loaded = await front_end._load(by_key("dev", b"k" * 32))
        named = loaded.snapshot.group("CERTIFIED")
        assert named is not None
        assert named.enrollment_group_id == "certified"
        assert not any(one.certificates for one in loaded.snapshot.groups.groups)


async def test_what_is_kept_of_many_devices_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_groups, "MAX_KEPT", 5)
    async with opened(open_store(None)) as store:
        await put(store, signed("fleet", der(ROOT)))
        front_end = service(store)
        for number in range(20):
            chain = shown(f"dev-{number}", ROOT, ROOT)
            assert (await answer(front_end, by_chain(chain)))[0] == 202
            assert len(front_end._groups._signed) <= 5 + len(chain) + 1


async def test_without_groups_nothing_is_looked_for(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        counted = Counted(store)
        assert (await answer(service(counted), by_chain(shown("a", ROOT))))[0] == 404
        assert (await answer(service(counted), by_key("b", b"k" * 32)))[0] == 404
        assert counted.rows == 6
