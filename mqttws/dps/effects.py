"""The values between the service's rules and the connection: a device, and what is to be done.

A rule returns effects; the driver of the connection carries them out. The reason of an effect is
one line for the log, without secrets.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from .certificates import Chain
from .records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from .sas import Token, read_token
from .topics import Message, response_topic


@dataclass(frozen=True)
class Device:
    """A connected device: what its CONNECT said. Its credentials are not judged yet.

    Attributes:
        registration_id: as in its user name.
        id_scope: as in its user name; it is the service's, but for case.
        api_version: of the service API.
        password: SAS token; None where it sent none.
        chain: the certificates that it has shown in the TLS handshake, its own first, each signed
            by the next; empty where it has shown none.
    """

    registration_id: str
    id_scope: str
    api_version: str
    password: str | None = field(default=None, repr=False)
    chain: Chain = field(default=(), repr=False)

    @property
    def shows_chain(self) -> bool:
        """Whether it proves itself by a certificate: one that sends a password is judged by that.

        Embedded C sends an empty password with X.509.
        """
        return bool(self.chain) and not self.password

    @cached_property
    def token(self) -> Token | str:
        """The password as a token, read once for all requests; or what is wrong with its form."""
        return read_token(self.password or "")


@dataclass(frozen=True)
class Refusal:
    """A CONNECT that is not accepted.

    Attributes:
        return_code: for CONNACK.
        reason: one line for the log.
    """

    return_code: int
    reason: str


@dataclass(frozen=True)
class Answer:
    """Send this answer to the device; over MQTT at QoS 1, after PUBACK of its request.

    Attributes:
        status: as in HTTP.
        body: JSON in ASCII.
        reason: one line for the log.
        request_id: as it stood in the request's topic.
        retry_after: seconds after which the device is to ask again; None for none.
        error_code: six digits; 0 where the request was not refused.
    """

    status: int
    body: bytes
    reason: str
    request_id: str = ""
    retry_after: int | None = None
    error_code: int = 0

    @property
    def message(self) -> Message:
        """The message of MQTT."""
        topic = response_topic(self.status, self.request_id, self.retry_after)
        return Message(topic, self.body)


@dataclass(frozen=True)
class Close:
    """Close the device's connection.

    Attributes:
        reason: one line for the log.
    """

    reason: str


@dataclass(frozen=True)
class AllocationRequested:
    """Ask the enrollment's webhook for a hub, and give ``Service.allocated`` the outcome.

    Attributes:
        device: who is to be assigned.
        operation_id: of its registration.
        url: whom to POST to; may hold the caller's own secret.
        body: what to POST: JSON.
        reason: one line for the log.
    """

    device: Device
    operation_id: str
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    reason: str


Effect = Answer | Close | AllocationRequested


class Assigned(NamedTuple):
    """A registration that has just ended well, and has been committed.

    Attributes:
        registration: as it is now.
        earlier: as it was before; None for a first one.
        enrollment: that let the device in.
        chain: the certificates that the device has shown.
    """

    registration: RegistrationRecord
    earlier: RegistrationRecord | None
    enrollment: IndividualEnrollment | EnrollmentGroup
    chain: Chain
