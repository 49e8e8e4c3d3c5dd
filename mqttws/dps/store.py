"""Where a service keeps enrollments and registrations.

Knows which questions are asked. Does not know what the answers are used for.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ..errors import UsageError
from ..text import shown
from .records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord


class Records(Protocol):
    """Where a service keeps enrollments and registrations. Ids are found whatever their case."""

    def individual(self, registration_id: str) -> IndividualEnrollment | None:
        """Return the device's own enrollment; None if it has none."""

    def individuals(self) -> Sequence[IndividualEnrollment]:
        """Return all individual enrollments, in a steady order."""

    def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return one enrollment group; None if there is none of this name."""

    def groups(self) -> Sequence[EnrollmentGroup]:
        """Return all enrollment groups, in a steady order."""

    def put(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep an enrollment, in place of the one that has its id."""

    def add(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep a new enrollment.

        Raises:
            UsageError: there is one with its id.
        """

    def remove(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Forget the enrollment that has this one's id; the device's registration stays.

        Raises:
            UsageError: there is none.
        """

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""

    def registrations(self) -> Sequence[RegistrationRecord]:
        """Return what is remembered of all devices, in a steady order."""

    def put_registration(self, record: RegistrationRecord) -> None:
        """Remember a device, in place of what was remembered of it."""

    def remove_registration(self, registration_id: str) -> None:
        """Forget a device; one that is not known is forgotten already."""


class MemoryRecords(Records):
    """Records that live as long as the process.

    Args:
        enrollments: to begin with.
    """

    def __init__(self, enrollments: Sequence[IndividualEnrollment | EnrollmentGroup] = ()) -> None:
        self._individuals: dict[str, IndividualEnrollment] = {}
        self._groups: dict[str, EnrollmentGroup] = {}
        self._registrations: dict[str, RegistrationRecord] = {}
        for enrollment in enrollments:
            self.add(enrollment)

    def individual(self, registration_id: str) -> IndividualEnrollment | None:
        """Return the device's own enrollment; None if it has none."""
        return self._individuals.get(registration_id.lower())

    def individuals(self) -> Sequence[IndividualEnrollment]:
        """Return all individual enrollments, in the order in which they were added."""
        return tuple(self._individuals.values())

    def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return one enrollment group; None if there is none of this name."""
        return self._groups.get(enrollment_group_id.lower())

    def groups(self) -> Sequence[EnrollmentGroup]:
        """Return all enrollment groups, in the order in which they were added."""
        return tuple(self._groups.values())

    def put(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep an enrollment, in place of the one that has its id."""
        if isinstance(enrollment, IndividualEnrollment):
            self._individuals[enrollment.registration_id.lower()] = enrollment
        else:
            self._groups[enrollment.enrollment_group_id.lower()] = enrollment

    def add(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep a new enrollment."""
        if isinstance(enrollment, IndividualEnrollment):
            _add(self._individuals, enrollment.registration_id, enrollment)
        else:
            _add(self._groups, enrollment.enrollment_group_id, enrollment)

    def remove(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Forget the enrollment that has this one's id; the device's registration stays."""
        if isinstance(enrollment, IndividualEnrollment):
            _remove(self._individuals, enrollment.registration_id)
        else:
            _remove(self._groups, enrollment.enrollment_group_id)

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""
        return self._registrations.get(registration_id.lower())

    def registrations(self) -> Sequence[RegistrationRecord]:
        """Return what is remembered of all devices, in the order in which they first came."""
        return tuple(self._registrations.values())

    def put_registration(self, record: RegistrationRecord) -> None:
        """Remember a device, in place of what was remembered of it."""
        self._registrations[record.registration_id.lower()] = record

    def remove_registration(self, registration_id: str) -> None:
        """Forget a device; one that is not known is forgotten already."""
        self._registrations.pop(registration_id.lower(), None)


_E = TypeVar("_E")


def _add(kept: dict[str, _E], name: str, enrollment: _E) -> None:
    if name.lower() in kept:
        raise UsageError(f"there is an enrollment {shown(name)} already")
    kept[name.lower()] = enrollment


def _remove(kept: dict[str, _E], name: str) -> None:
    if kept.pop(name.lower(), None) is None:
        raise UsageError(f"there is no enrollment {shown(name)}")
