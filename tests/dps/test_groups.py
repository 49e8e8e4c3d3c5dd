"""The index of enrollment groups, and what a front end keeps of it, over rows in memory."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pytest

from mqttws.dps import known_groups
from mqttws.dps.certificates import Certificate, Chain
from mqttws.dps.directory import Directory, place_of
from mqttws.dps.effects import Answer, Device
from mqttws.dps.group_index import KEYS, GroupIndex, by_subject, by_thumbprint
from mqttws.dps.known_groups import Found, KnownGroups, Wanted, named_groups
from mqttws.dps.records import DeviceRecord, EnrollmentGroup, Groups, Operation, RegistrationRecord
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.store import Check, Loaded, Page, Row, Table, Write
from mqttws.dps.tables import (
    GROUPS,
    GROUPS_MARK,
    INDEXED_MARK,
    MARKS,
    OLD_GROUPS_MARK,
    SIGNERS,
)
from mqttws.dps.topics import Message, register_topic
from mqttws.errors import StoreFailed
from mqttws.local.stores.memory import MemoryStore

from .world import HUB, KEY, SCOPE, UNIX_START, at_once, group


class Chains:
    """Reads certificates that are no more than their subject's name; an empty name has none."""

    def continued(self, chain: Chain, enrolled: Sequence[bytes]) -> Chain:
        above = [shown(der.decode()) for der in enrolled if der.decode() == chain[-1].issuer]
        return [*chain, *above[:1]]

    def subject(self, der: bytes) -> str | None:
        return der.decode() if der != b"unreadable" else None


class Memory(MemoryStore):
    """Rows in memory; ``reads`` has what was looked for, and ``before`` is called at a commit."""

    def __init__(self) -> None:
        super().__init__(lambda: UNIX_START)
        self.reads: list[str] = []
        self.before: Callable[[Sequence[Write]], None] = lambda writes: None

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        self.reads += [f"{table.name} {key}" for table, key in keys]
        return await super().load(*keys)

    async def find(self, table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        self.reads += [f"find {alias.split()[0]}" for alias in aliases]
        return await super().find(table, *aliases)

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        self.reads.append(f"page {table.name}")
        return await super().page(table, after, limit, group)

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        self.before(writes)
        return await super().commit(writes, checks)


def certified(name: str, *ders: bytes) -> EnrollmentGroup:
    primary, secondary = (*ders, b"")[:2]
    return group(name, b"", primary_certificate=primary, secondary_certificate=secondary)


def shown(name: str, issuer: str = "") -> Certificate:
    (sha256,) = certified("x", name.encode()).fingerprints
    return Certificate(sha256, "", name, name, issuer or name, 0.0, 4e9, "0f")


def put(store: MemoryStore, *groups: EnrollmentGroup) -> None:
    directory = Directory(store, Chains())
    for each in groups:
        assert at_once(directory.put(each, at_once(directory.row(*place_of(each)))))


def signers(store: MemoryStore) -> set[tuple[str, str]]:
    return {tuple(row.value) for _, row in at_once(store.page(SIGNERS)).items}


def mark(store: MemoryStore, name: str) -> Row:
    return at_once(store.load((MARKS, name))).rows[0]


def names_of(*ders: bytes) -> list[str]:
    prints = [by_thumbprint(each) for each in certified("x", *ders).fingerprints]
    return prints + [by_subject(der.decode()) for der in ders]


# The index


def test_a_group_is_found_by_its_keys_and_by_its_certificates() -> None:
    store = Memory()
    put(store, group("Keyed"), certified("One", b"a"), certified("Two", b"a", b"b"))
    index = GroupIndex(store, Chains())
    both = [*names_of(b"a"), KEYS, *names_of(b"b"), "nothing"]
    assert at_once(index.signed(both)) == {
        **dict.fromkeys(names_of(b"a"), ("one", "two")),
        KEYS: ("keyed",),
        **dict.fromkeys(names_of(b"b"), ("two",)),
        "nothing": (),
    }


def test_rows_of_the_index_come_and_go_with_what_a_group_holds() -> None:
    store = Memory()
    put(store, certified("G", b"a", b"b"))
    assert signers(store) == {(name, "g") for name in names_of(b"a", b"b")}
    rows = {key for key, _ in at_once(store.page(SIGNERS)).items}
    assert rows == {f"{name}\ng" for name in names_of(b"a", b"b")}  # as earlier versions wrote them
    before = mark(store, GROUPS_MARK).version
    put(store, certified("G", b"b"))
    assert signers(store) == {(name, "g") for name in names_of(b"b")}
    assert mark(store, GROUPS_MARK).version > before
    put(store, group("G"))
    assert signers(store) == {(KEYS, "g")}
    directory = Directory(store, Chains())
    row = at_once(directory.row(GROUPS, "G"))
    assert at_once(directory.remove(row.value, row))
    assert signers(store) == set()


def test_a_certificate_without_a_subject_is_found_by_its_thumbprint_alone() -> None:
    store = Memory()
    put(store, certified("g", b"unreadable"))
    assert signers(store) == {(names_of(b"unreadable")[0], "g")}
    unread = Memory()
    directory = Directory(unread)  # as where devices show every certificate
    assert at_once(directory.add(certified("g", b"a")))
    assert signers(unread) == {(names_of(b"a")[0], "g")}


def test_subjects_are_found_by_a_hash_of_any_text() -> None:
    assert by_subject("CN=a") != by_subject("CN=b")
    assert by_subject("\ud800") == by_subject("?")
    assert len(by_subject("x" * 9999)) == len("subject ") + 64


def test_rows_of_more_groups_than_are_read_together_are_all_read() -> None:
    store = Memory()
    put(store, *(group(f"g{number}") for number in range(501)))
    keys = [f"g{number}" for number in range(502)]
    rows = at_once(GroupIndex(store).rows(keys))
    assert list(rows) == keys
    there = [key for key, row in rows.items() if row.version]
    assert there == keys[:-1]
    assert rows["g7"].value == group("g7")


@pytest.mark.parametrize(
    ("groups", "expected"), [([], False), ([group()], False), ([certified("c", b"a")], True)]
)
def test_whether_any_group_has_certificates(groups: list[EnrollmentGroup], expected: bool) -> None:
    store = Memory()
    put(store, *groups)
    assert at_once(GroupIndex(store).any_certified()) is expected


# Groups that a version without an index has written


def of_old(store: MemoryStore, *groups: EnrollmentGroup) -> None:
    writes = [Write(GROUPS, each.enrollment_group_id.lower(), each) for each in groups]
    assert at_once(store.commit([*writes, Write(MARKS, OLD_GROUPS_MARK, 1)]))


def test_groups_of_an_older_version_are_indexed_once() -> None:
    store = Memory()
    index = GroupIndex(store, Chains())
    assert at_once(index.complete()) == 0
    groups = [certified(f"{number:03}", b"a") for number in range(51)]
    put(store, certified("new", b"b"))
    of_old(store, *groups)
    before = mark(store, GROUPS_MARK).version
    assert at_once(index.complete()) == 52
    assert at_once(index.signed(names_of(b"a")[:1])) == {
        names_of(b"a")[0]: tuple(each.enrollment_group_id for each in groups)
    }
    assert ("keys", "000") not in signers(store)
    assert mark(store, GROUPS_MARK).version > before  # all front ends read anew
    assert mark(store, INDEXED_MARK).value == mark(store, OLD_GROUPS_MARK).version
    assert at_once(index.complete()) == 0
    of_old(store, group("late"))
    assert at_once(index.complete()) == 53


def test_no_group_of_an_older_version_is_left_but_its_mark() -> None:
    store = Memory()
    of_old(store)
    assert at_once(GroupIndex(store).complete()) == 0
    assert mark(store, INDEXED_MARK).value == mark(store, OLD_GROUPS_MARK).version


def changing(store: Memory, times: int) -> list[int]:
    """Have a group move whenever the index is about to be written, this often."""
    left = [times]

    def before(writes: Sequence[Write]) -> None:
        if left[0] and any(write.table is SIGNERS for write in writes):
            left[0] -= 1
            of = certified("g", b"a%d" % left[0])
            at_once(MemoryStore.commit(store, [Write(GROUPS, "g", of)]))

    store.before = before
    return left


def test_a_group_that_changes_while_it_is_indexed_is_indexed_as_it_is_in_the_end() -> None:
    store = Memory()
    of_old(store, certified("g", b"first"))
    left = changing(store, 9)
    assert at_once(GroupIndex(store, Chains()).complete()) == 1
    assert left == [0]
    assert signers(store) == {(name, "g") for name in names_of(b"a0")}


def test_a_group_that_changes_again_and_again_is_given_up() -> None:
    store = Memory()
    of_old(store, certified("g", b"first"))
    changing(store, 10)
    with pytest.raises(StoreFailed, match="change faster than they can be indexed"):
        at_once(GroupIndex(store, Chains()).complete())
    assert mark(store, INDEXED_MARK).version == 0


# What a front end keeps


def known(store: Memory) -> KnownGroups:
    return KnownGroups(GroupIndex(store, Chains()), mark(store, GROUPS_MARK).version)


def found(groups: KnownGroups, wanted: Wanted) -> Found:
    """Return groups that are read first: nothing is known of them before."""
    assert groups.find(wanted) is None
    at_once(groups.read(wanted))
    there = groups.find(wanted)
    assert there is not None
    return there


def ids(groups: Groups) -> list[str]:
    return [each.enrollment_group_id for each in groups.groups]


NOTHING = Wanted(False, (), ())


def test_without_any_group_nothing_is_read() -> None:
    store = Memory()
    groups = KnownGroups(GroupIndex(store, Chains()))
    assert groups.version == 0
    for wanted in (NOTHING, Wanted(True, (), ()), Wanted(False, (shown("a"),), ("g",))):
        assert groups.find(wanted) == Found(Groups(), {})
    assert store.reads == []


def test_a_device_that_wants_no_group_is_given_none() -> None:
    store = Memory()
    put(store, group("g"))
    groups = known(store)
    assert groups.find(NOTHING) == Found(Groups(groups.version), {})


def test_the_groups_with_keys_are_read_once_for_all() -> None:
    store = Memory()
    put(store, group("A"), group("b"), certified("c", b"a"))
    groups = known(store)
    store.reads.clear()
    there = found(groups, Wanted(True, (), ()))
    assert ids(there.groups) == ["A", "b"]
    assert there.groups.version == groups.version
    assert there.groups.versions.keys() == {"a", "b"}
    assert there.named == {}
    assert store.reads == ["find keys", "group a", "group b"]
    store.reads.clear()
    at_once(groups.read(Wanted(True, (), ("A".lower(),))))
    named = groups.find(Wanted(True, (), ("a",)))
    assert named is not None
    assert named.groups is there.groups
    assert named.named == {"a": group("A")}
    assert groups.find(NOTHING) == Found(Groups(groups.version), {})
    assert store.reads == []


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([shown("dev", "ca")], ["by-ca", "second"]),
        ([shown("dev", "ca"), shown("ca", "root")], ["by-ca", "root", "second"]),
        ([shown("dev", "line"), shown("line", "other")], []),
        ([shown("own")], ["own"]),
    ],
)
def test_a_chain_leads_to_the_groups_of_its_certificates_and_of_the_next_one(
    chain: list[Certificate], expected: list[str]
) -> None:
    store = Memory()
    put(store, certified("By-CA", b"ca"), certified("second", b"x", b"ca"), certified("z", b"z"))
    put(store, certified("root", b"root"), certified("own", b"own"), group("keyed"))
    groups = known(store)
    there = found(groups, Wanted(False, chain, ()))
    assert [name.lower() for name in ids(there.groups)] == expected
    assert there.groups.any_certified is True
    again = groups.find(Wanted(False, chain, ()))
    assert again is not None
    assert again.groups is there.groups
    store.reads.clear()
    at_once(groups.read(Wanted(False, chain, ())))
    assert store.reads == []


def test_a_chain_is_told_whether_any_group_has_certificates() -> None:
    store = Memory()
    put(store, group("keyed"))
    assert found(known(store), Wanted(False, [shown("dev")], ())).groups.any_certified is False


def test_a_group_that_a_devices_record_names_is_read_with_the_others() -> None:
    store = Memory()
    put(store, group("keyed"), certified("certified", b"ca"))
    groups = known(store)
    there = found(groups, Wanted(True, (), ("certified", "gone", "keyed")))
    assert ids(there.groups) == ["keyed"]
    assert there.named == {"certified": certified("certified", b"ca"), "keyed": group("keyed")}
    lone = found(known(store), Wanted(False, (), ("gone",)))
    assert lone == Found(Groups(groups.version), {})


@pytest.mark.parametrize(("most", "kept"), [(4, True), (3, False)])
def test_what_is_kept_of_many_certificates_is_dropped_when_it_is_too_much(
    most: int, kept: bool
) -> None:
    """Each of these devices adds two names, a group and what it may be of."""
    store = Memory()
    names = ("first", "second", "third")
    put(store, *(certified(name, name.encode()) for name in names))
    groups = known(store)
    wanted = [Wanted(False, [shown(f"dev {name}", name)], ()) for name in names]
    with mock.patch.object(known_groups, "MAX_KEPT", most):
        for each in wanted:
            found(groups, each)
    assert [groups.find(each) is not None for each in wanted] == [kept, kept, True]
    count = 3 if kept else 1
    assert len(groups._signed) == 2 * count
    assert len(groups._rows) == len(groups._certified) == count


def test_a_record_names_its_registrations_group_and_those_of_its_operations() -> None:
    assert named_groups(DeviceRecord()) == ()
    of = RegistrationRecord("d", HUB, "d", "", "", "", "", enrollment_group_id="Third")
    operations = (
        Operation("1", 0.0, 0, "group", "First"),
        Operation("2", 0.0, 0, "individual", "d"),
        Operation("3", 0.0, 0, "group", "SECOND"),
    )
    assert named_groups(DeviceRecord(of, operations)) == ("first", "second", "third")
    own = RegistrationRecord("d", HUB, "d", "", "", "", "")
    assert named_groups(DeviceRecord(own)) == ()


# The service


def service(store: Memory) -> Service:
    ids_of = (f"op-{number}" for number in itertools.count())
    return Service(
        Settings(SCOPE, (HUB,)),
        store,
        operation_ids=ids_of,
        tracking_ids=itertools.repeat("track"),
        chains=Chains(),
    )


def status(serving: Service, chain: Chain) -> int:
    device = Device(chain[0].common_name, SCOPE, "2021-06-01", None, chain)
    (answer,) = at_once(serving.handle(device, Message(register_topic("1")), 1)).effects
    assert isinstance(answer, Answer)
    return answer.status


def test_a_chain_is_continued_by_an_enrolled_certificate_that_it_does_not_show() -> None:
    store = Memory()
    put(store, certified("fleet", b"ca"), group("keyed", KEY))
    serving = service(store)
    assert status(serving, [shown("dev-1", "ca")]) == 202
    assert status(serving, [shown("dev-2", "ca"), shown("ca", "ca")]) == 202
    assert status(serving, [shown("dev-3", "stranger")]) == 401
    for name in ("dev-1", "dev-2"):
        registration = at_once(Directory(store).registration(name))
        assert registration is not None
        assert registration.enrollment_group_id == "fleet"


def test_a_groups_change_is_known_to_every_front_end_at_once() -> None:
    store = Memory()
    put(store, certified("fleet", b"ca"))
    ends = [service(store), service(store)]
    assert [status(end, [shown("dev-1", "ca")]) for end in ends] == [202, 202]
    put(store, certified("fleet", b"other"))
    assert [status(end, [shown("dev-1", "ca")]) for end in ends] == [401, 401]


def test_groups_that_change_faster_than_they_are_read_are_answered_503() -> None:
    store = Memory()
    put(store, certified("fleet", b"ca"))
    find, changes = store.find, itertools.count()

    async def overtaken(table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        if next(changes) < 10:
            put(store, certified("fleet", b"ca", b"b%d" % next(changes)))
        return await find(table, *aliases)

    store.find = overtaken  # type: ignore[method-assign]
    assert status(service(store), [shown("dev-1", "ca")]) == 202
    changes = itertools.repeat(0)  # type: ignore[assignment]
    assert status(service(store), [shown("dev-2", "ca")]) == 503
