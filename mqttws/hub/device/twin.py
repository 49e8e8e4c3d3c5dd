"""A device's view of its twin: what was read, what has changed, and what was missed.

Knows the versions of the desired section. Reads of the whole twin are asked for (``wants_twin``)
and made by another client. Desired changes come with QoS 0 and are never queued for an absent
device, so each connection begins with a read (azure-docs ``iot-hub-devguide-device-twins.md``).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...text import shown

Section = dict[str, Any]
"""The desired or the reported properties, without ``$version``."""

VERSION = "$version"

MAX_WAITING = 100
"""Changes that may wait for a reader; what comes on top is joined with the newest of them."""

MAX_READS = 3
"""Reads in a row that may leave a gap before the gap is taken as the service's own."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A device's or module's twin.

    Attributes:
        desired: the properties that the service wants, without ``$version``.
        reported: the properties that the device has reported, without ``$version``.
        desired_version: of the desired section.
        reported_version: of the reported section.
    """

    desired: Section
    reported: Section
    desired_version: int
    reported_version: int


@dataclass(frozen=True, slots=True)
class DesiredChange:
    """A change of the desired properties.

    Attributes:
        patch: a JSON merge patch (RFC 7396) from the desired properties that were handed out
            before; None as a value means that the property is gone.
        desired: the desired properties with the change.
        version: of the desired section with the change.
        read: whether it comes from a read of the whole twin, as after each (re)connection and
            after a missed change, and not from the hub's notification.
    """

    patch: Section
    desired: Section = field(repr=False)
    version: int = 0
    read: bool = False


def twin_from_json(value: object) -> Twin | str:
    """Return the twin in the body of a twin answer; or what is wrong with it."""
    if not isinstance(value, dict):
        return f"a twin that is {type(value).__name__}; allowed: an object"
    sections: list[Section] = []
    versions: list[int] = []
    for name in ("desired", "reported"):
        section = value.get(name)
        if not isinstance(section, dict):
            return f"a twin whose {name} is {shown(section)}; allowed: an object"
        version = section.get(VERSION)
        if type(version) is not int:
            return f"a twin whose {name} {VERSION} is {shown(version)}; allowed: a whole number"
        sections.append(without_version(section))
        versions.append(version)
    return Twin(sections[0], sections[1], versions[0], versions[1])


def without_version(section: Mapping[str, Any]) -> Section:
    """Return a section or patch without its metadata (``$version`` and other ``$`` names)."""
    return {name: value for name, value in section.items() if not name.startswith("$")}


def merged(target: object, patch: object) -> Any:
    """Return ``target`` with a JSON merge patch applied (RFC 7396); neither is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def difference(before: Section, after: Section) -> Section:
    """Return the JSON merge patch that makes ``after`` of ``before``."""
    patch: Section = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := difference(old, value):
                patch[name] = inner
        elif name not in before or type(old) is not type(value) or old != value:
            patch[name] = value
    return patch


class DesiredTracker:
    """Follows the desired properties over notifications, reads and connections.

    Attributes:
        wants_twin: whether the whole twin must be read: at the start of each connection, and when
            a change was missed.
    """

    def __init__(self) -> None:
        self.wants_twin: bool = True
        self._desired: Section = {}
        self._version: int | None = None  # None: nothing was read yet
        self._given: Section = {}  # the state that the newest waiting change leads to
        self._early: dict[int, Section] = {}  # notifications that a read must come before
        self._reads = 0
        self._waiting: deque[tuple[Section, DesiredChange]] = deque()

    @property
    def version(self) -> int | None:
        """The version of the desired section that was seen last; None before the first read."""
        return self._version

    def on_connected(self) -> None:
        """Note a new connection: changes may have been missed."""
        self.wants_twin = True
        self._reads = 0

    def on_notification(self, version: int, patch: Mapping[str, Any]) -> None:
        """Take a change in that the hub has sent."""
        # Before a read all are kept: the twin may have been made anew, and counts from 1 again.
        self._early[version] = without_version(patch)
        if not self.wants_twin:
            self._apply_early()

    def on_twin(self, twin: Twin) -> None:
        """Take the whole twin in, as it was read."""
        self.wants_twin = False
        self._reads += 1
        if self._version is None or twin.desired_version != self._version:
            # An older version than ours means that the twin was made anew: the read is right.
            self._desired, self._version = twin.desired, twin.desired_version
            self._emit(self._version, read=True)
        self._apply_early()

    def next_change(self) -> DesiredChange | None:
        """Return the oldest change that was not handed out yet; None without one."""
        return self._waiting.popleft()[1] if self._waiting else None

    def _apply_early(self) -> None:
        """Apply what follows without a gap; ask for a read at a gap."""
        assert self._version is not None, "a read has come before"
        for version in sorted(self._early):
            if version <= self._version:  # seen already, or part of what was read
                del self._early[version]
                continue
            if version > self._version + 1 and self._reads < MAX_READS:
                self.wants_twin = True
                return
            # After several reads the gap stands: versions may rise without a change for us.
            self._desired = merged(self._desired, self._early.pop(version))
            self._version = version
            self._reads = 0
            self._emit(version, read=False)

    def _emit(self, version: int, *, read: bool) -> None:
        before, after = self._given, self._desired
        patch = difference(before, after)
        self._given = after
        if len(self._waiting) >= MAX_WAITING:
            before, newest = self._waiting.pop()
            patch, read = difference(before, after), read or newest.read
        self._waiting.append((before, DesiredChange(patch, after, version, read)))
