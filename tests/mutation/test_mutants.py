"""The mutants themselves: what is changed, and that each explanation is of one that exists."""

import textwrap

from . import records
from .mutants import mutated, targets

SOURCE = textwrap.dedent(
    '''
    def limit(size: int, name: str = "a b") -> int:
        """Docstring."""
        assert size is not None
        if size > 3 and not name:
            raise ValueError("too large")
        return size + 1


    class Box:
        def put(self, value):
            self.value = value
    '''
)


def test_the_mutants_of_a_function_are_these() -> None:
    limit, put = targets("m.py", SOURCE)
    assert limit.name == "m.py:limit"
    assert limit.mutants == (
        "size > 3 and (not name) -> not (size > 3 and (not name))",
        "size > 3 and (not name) -> size > 3 or not name",
        "size > 3 -> size >= 3",
        "3 -> 4",
        "not name -> name",
        "raise ValueError('too large') -> pass",
        "return size + 1 -> return None",
        "size + 1 -> size - 1",
        "1 -> 2",
    )
    assert (put.name, put.mutants) == ("m.py:Box.put", ("self.value = value -> pass",))


def test_a_mutant_runs_and_differs() -> None:
    limit, put = targets("m.py", SOURCE)
    for number, size, expected in ((2, 3, ValueError), (3, 4, 5), (7, 2, 1), (None, 2, 3)):
        names: dict[str, object] = {}
        exec(compile(mutated(SOURCE, limit.line, number), "m.py", "exec"), names)
        found: object
        try:
            found = names["limit"](size, "")  # type: ignore[operator]
        except ValueError as error:
            found = type(error)
        assert found == expected
    names = {}
    exec(compile(mutated(SOURCE, put.line, 0), "m.py", "exec"), names)
    box = names["Box"]()  # type: ignore[operator]
    box.put(1)
    assert not hasattr(box, "value")


def test_a_hash_changes_with_the_code_and_not_with_its_words() -> None:
    (limit, *_), (other, *_), (moved, *_) = (
        targets("m.py", SOURCE),
        targets("m.py", SOURCE.replace("> 3", "> 4")),
        targets("m.py", "\n# a comment\n" + SOURCE.replace("Docstring.", "Other words.")),
    )
    assert limit.source != other.source
    assert limit.source == moved.source
    assert limit.line != moved.line


def test_each_survivor_that_is_explained_is_a_mutant_of_today() -> None:
    known = {
        (target.name, mutant)
        for room in records.ROOMS
        for target in records.targets_of(room)
        for mutant in target.mutants
    }
    explained = records.explained()
    assert sorted(explained.keys() - known) == []
    assert all(explained.values())
    assert len(explained) == len(records.EXPLAINED.read_text().splitlines()) - 1  # one line each
