"""A device's twin: tags, desired and reported properties, their versions and their rules.

Source: azure-docs ``iot-hub-devguide-device-twins.md``. Pure: each function returns a new twin or
the fault of the request. Knows no topic, no store and no device.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...text import shown
from .codes import Code, Fault, timestamp

MAX_SECTION = 32 * 1024
"""Bytes of the desired, and of the reported properties."""

MAX_TAGS = 8 * 1024
MAX_DEPTH = 10
MAX_NAME = 1024
MAX_TEXT = 4096
MAX_INTEGER = 4503599627370496

_FORBIDDEN = frozenset(".$ ")


@dataclass(frozen=True, slots=True)
class Section:
    """Desired or reported properties.

    Attributes:
        values: as a JSON object, without ``$`` members.
        metadata: ``$lastUpdated`` and ``$lastUpdatedVersion`` at each level, for services only.
        version: begins at 1 and rises by one with each accepted write of this section.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class Twin:
    """A twin.

    Attributes:
        desired: written by the service, read by the device.
        reported: written by the device, read by the service.
        tags: the service's own.
        version: rises with each write of any part.
        revision: rises with each write by the service; the etag is made from it.
    """

    desired: Section = Section()
    reported: Section = Section()
    tags: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    revision: int = 1

    @property
    def etag(self) -> str:
        """The twin's etag, without quotes."""
        return base64.b64encode(self.revision.to_bytes(8, "big")).decode()


# Rules of names and values


def section_fault(values: object, limit: int = MAX_SECTION) -> Fault | None:
    """Return the first rule that properties or tags break; None if they break none.

    Args:
        values: a parsed JSON value; nulls are allowed, as a patch has them.
        limit: bytes in which all names and values must fit.
    """
    if not isinstance(values, dict):
        return Fault(Code.ArgumentInvalid, f"found {_kind(values)}; expected a JSON object")
    broken = next(_broken_rules(values, 1), None)
    if broken is not None:
        return Fault(Code.ArgumentInvalid, broken)
    return _size_fault(values, limit)


def _size_fault(values: Mapping[str, Any], limit: int) -> Fault | None:
    size = size_of(values)
    if size > limit:
        return Fault(Code.MessageTooLarge, f"{size} bytes of properties; allowed: {limit}")
    return None


def _broken_rules(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        if depth > MAX_DEPTH:
            yield f"nested deeper than {MAX_DEPTH} levels"
            return
        for name, member in value.items():
            yield from _broken_name(name)
            yield from _broken_rules(member, depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH + 1:
            yield f"nested deeper than {MAX_DEPTH} levels"
            return
        for member in value:
            yield from _broken_rules(member, depth + 1)
    elif isinstance(value, str) and len(value.encode(errors="replace")) > MAX_TEXT:
        yield f"a string of {len(value.encode(errors='replace'))} bytes; allowed: {MAX_TEXT}"
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        yield f"the integer {shown(str(value))}; allowed: at most {MAX_INTEGER} either way"


def _broken_name(name: str) -> Iterator[str]:
    if not name or len(name.encode(errors="replace")) > MAX_NAME:
        yield f"a property name of {len(name)} characters; allowed: 1 to {MAX_NAME} bytes"
    elif any(character in _FORBIDDEN or ord(character) < 32 or ord(character) == 127
             for character in name):  # fmt: skip
        yield f"the property name {shown(name)}; allowed: no '.', '$', blank or control character"


def size_of(value: object) -> int:
    """Return a value's size as the hub counts it: names and values, numbers 8, booleans 4 bytes."""
    if isinstance(value, Mapping):
        return sum(len(name.encode(errors="replace")) + size_of(of) for name, of in value.items())
    if isinstance(value, list):
        return sum(map(size_of, value))
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, bool):
        return 4
    return 0 if value is None else 8


def _kind(value: object) -> str:
    names = {str: "a string", list: "a list", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


# Writes


def report(twin: Twin, patch: object, now: float) -> Twin | Fault:
    """Merge a device's patch into the reported properties (JSON merge patch; null removes)."""
    fault = section_fault(patch)
    if fault is not None:
        return fault
    assert isinstance(patch, dict)
    reported = _merge(twin.reported, patch, now, versioned=False)
    too_large = _size_fault(reported.values, MAX_SECTION)
    if too_large is not None:
        return too_large
    return replace(twin, reported=reported, version=twin.version + 1)


@dataclass(frozen=True, slots=True)
class ServiceWrite:
    """A service's write of a twin.

    Attributes:
        twin: as it is now.
        desired: the message for the connected device: the patch, or after a replace the whole
            section; None where the desired properties were not written.
    """

    twin: Twin
    desired: Mapping[str, Any] | None


def write(
    twin: Twin, body: object, now: float, *, replace_all: bool = False, etag: str | None = None
) -> ServiceWrite | Fault:
    """Patch or replace tags and desired properties.

    Args:
        twin: as it was.
        body: ``{"tags": ..., "properties": {"desired": ...}}``; other members are a twin's own and
            are not written, as when a service sends back a twin that it has read.
        now: Unix time in seconds.
        replace_all: PUT instead of PATCH: what the body does not name is removed.
        etag: of ``If-Match``, without quotes; None or ``*`` for any.
    """
    if etag not in (None, "*", twin.etag):
        return Fault(Code.PreconditionFailed, "the twin's etag is another")
    if not isinstance(body, dict):
        return Fault(Code.ArgumentInvalid, f"found {_kind(body)}; expected a JSON object")
    properties = body.get("properties")
    if not isinstance(properties, dict | None):
        return Fault(Code.ArgumentInvalid, f"properties: found {_kind(properties)}")
    tags, desired = body.get("tags"), (properties or {}).get("desired")
    if isinstance(desired, dict):
        desired = {k: v for k, v in desired.items() if k not in ("$metadata", "$version")}
    for part, limit in ((tags, MAX_TAGS), (desired, MAX_SECTION)):
        fault = None if part is None else section_fault(part, limit)
        if fault is not None:
            return fault
    return _written(twin, tags, desired, now, replace_all=replace_all)


def _written(
    twin: Twin, tags: Any, desired: Any, now: float, *, replace_all: bool
) -> ServiceWrite | Fault:
    message = None
    section = twin.desired
    if desired is not None or replace_all:
        base = Section(version=section.version) if replace_all else section
        section = _merge(base, desired or {}, now, versioned=True)
        shown_values = section.values if replace_all else desired
        message = {**shown_values, "$version": section.version}
    if replace_all:
        new_tags: Mapping[str, Any] = without_nulls(tags or {})
    else:
        new_tags = _merged(twin.tags, tags or {})
    fault = _size_fault(section.values, MAX_SECTION) or _size_fault(new_tags, MAX_TAGS)
    if fault is not None:
        return fault
    written = replace(
        twin,
        desired=section,
        tags=new_tags,
        version=twin.version + 1,
        revision=twin.revision + 1,
    )
    return ServiceWrite(written, message)


def _merge(section: Section, patch: Mapping[str, Any], now: float, *, versioned: bool) -> Section:
    version = section.version + 1
    stamp: dict[str, Any] = {"$lastUpdated": timestamp(now)}
    if versioned:
        stamp["$lastUpdatedVersion"] = version
    values = _merged(section.values, patch)
    return Section(values, _stamped(values, patch, section.metadata, stamp), version)


def _merged(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return values after a merge patch (RFC 7396)."""
    merged = dict(values)
    for name, change in patch.items():
        if change is None:
            merged.pop(name, None)
        elif isinstance(change, dict):
            old = merged.get(name)
            merged[name] = _merged(old if isinstance(old, dict) else {}, change)
        else:
            merged[name] = change
    return merged


def without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without the members that are null."""
    return _merged({}, values)


def _stamped(
    values: Mapping[str, Any],
    patch: Mapping[str, Any],
    metadata: Mapping[str, Any],
    stamp: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the metadata of merged values: what the patch touched has the new stamp."""
    result = dict(stamp)
    for name, value in values.items():
        old = metadata.get(name, stamp)
        if name not in patch:
            result[name] = old
        elif isinstance(value, dict):  # and so is the patch's
            result[name] = _stamped(value, patch[name], old, stamp)
        else:
            result[name] = dict(stamp)
    return result


def new_twin(initial: Mapping[str, Any] | None, now: float) -> Twin | Fault:
    """Return a fresh twin, with an enrollment's ``initialTwin`` if there is one.

    Both sections begin at version 1 (azure-docs ``iot-hub-devguide-device-twins.md``).
    """
    stamp = {"$lastUpdated": timestamp(now)}
    fresh = Twin(Section(metadata=stamp), Section(metadata=stamp))
    if not initial:
        return fresh
    unwritten = replace(fresh, desired=replace(fresh.desired, version=0), version=0, revision=0)
    written = write(unwritten, initial, now, replace_all=True)
    return written if isinstance(written, Fault) else written.twin


# Views


def device_view(twin: Twin) -> dict[str, Any]:
    """Return the twin as its device reads it: no tags, no metadata, no ``properties`` around it."""
    return {
        "desired": {**twin.desired.values, "$version": twin.desired.version},
        "reported": {**twin.reported.values, "$version": twin.reported.version},
    }


def service_view(twin: Twin) -> dict[str, Any]:
    """Return tags and properties as a service reads them."""
    return {
        "version": twin.version,
        "tags": dict(twin.tags),
        "properties": {
            "desired": _with_metadata(twin.desired),
            "reported": _with_metadata(twin.reported),
        },
    }


def _with_metadata(section: Section) -> dict[str, Any]:
    return {
        **section.values,
        "$metadata": dict(section.metadata),
        "$version": section.version,
    }
