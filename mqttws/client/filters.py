"""Match a topic name against many topic filters, at a cost that does not grow with their number.

Knows MQTT 3.1.1 section 4.7. Does not know what stands behind a filter.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class _Level(Generic[T]):
    """The filters that agree up to here, by their next level."""

    __slots__ = ("below", "here", "rest")

    def __init__(self) -> None:
        self.below: dict[str, _Level[T]] = {}
        self.here: tuple[int, T] | None = None  # the filter that ends here
        self.rest: tuple[int, T] | None = None  # the filter that ends here with '#'


class FilterIndex(Generic[T]):
    """Values by valid topic filter; of several that match a name, the first added counts."""

    __slots__ = ("_added", "_filters", "_top")

    def __init__(self) -> None:
        self._top: _Level[T] = _Level()
        self._filters: dict[str, tuple[int, T]] = {}
        self._added = 0

    def __len__(self) -> int:
        return len(self._filters)

    def get(self, topic_filter: str) -> T | None:
        """Return the value of exactly this filter."""
        found = self._filters.get(topic_filter)
        return None if found is None else found[1]

    def values(self) -> list[T]:
        """Return every value, in the order of adding."""
        return [value for _, value in self._filters.values()]

    def add(self, topic_filter: str, value: T) -> None:
        """Add a filter that is not there yet."""
        self._added += 1
        entry = self._filters[topic_filter] = (self._added, value)
        level = self._top
        for name in topic_filter.split("/"):
            if name == "#":
                level.rest = entry
                return
            level = level.below.setdefault(name, _Level())
        level.here = entry

    def pop(self, topic_filter: str) -> T | None:
        """Take a filter out and return its value; None if it is not there."""
        entry = self._filters.pop(topic_filter, None)
        if entry is None:
            return None
        levels = [self._top]
        names = topic_filter.split("/")
        for name in names[:-1] if names[-1] == "#" else names:
            levels.append(levels[-1].below[name])
        if names[-1] == "#":
            levels[-1].rest = None
        else:
            levels[-1].here = None
        while len(levels) > 1:
            level = levels.pop()
            if level.below or level.here or level.rest:
                break
            del levels[-1].below[names[len(levels) - 1]]
        return entry[1]

    def match(self, topic: str) -> T | None:
        """Return the value of the first added filter that matches a topic name; None if none does.

        A filter that starts with a wildcard does not match a name that starts with ``$``
        [MQTT-4.7.2-1]; ``a/#`` matches ``a`` too (U-22).
        """
        best: tuple[int, T] | None = None
        levels = [self._top]
        for depth, name in enumerate(topic.split("/")):
            hidden = not depth and name.startswith("$")
            following = []
            for level in levels:
                rest = level.rest
                if rest is not None and not hidden and (best is None or rest[0] < best[0]):
                    best = rest
                below = level.below
                if name in below and name != "+":
                    following.append(below[name])
                if "+" in below and not hidden:
                    following.append(below["+"])
            levels = following
            if not levels:
                break
        for level in levels:
            for entry in (level.here, level.rest):
                if entry is not None and (best is None or entry[0] < best[0]):
                    best = entry
        return None if best is None else best[1]
