"""The arguments of the methods of the local services."""

from collections.abc import Mapping
from dataclasses import replace

from .calls import FLAG, WAIT
from .common import SECONDS, SECONDS_OR_0
from .option import Option, Table
from .values import (
    instance,
    is_function,
    is_iterable,
    is_json_object,
    is_seconds,
    is_seconds_or_0,
    is_some_text,
    is_text,
    one_of,
    or_none,
    whole,
)

# Both

_MANY = 2**63
AFTER = Table(
    after=Option(
        or_none(whole(0, _MANY)), "a number, 0 or more, or None", "The number of an event.", None
    )
)
RUN = Table(
    work=Option(is_function, "a function that makes a coroutine", "What is to be done."),
    timeout=WAIT["timeout"],
)
POLICY = Table(policy=Option(is_some_text, "the name of a policy", "A shared access policy."))

# The DPS

ENROLL = Table(
    record=Option(
        lambda value: isinstance(value, Mapping) and bool(value),
        "an enrollment, a dict as the service API writes it",
        "The enrollment.",
    ),
    replace=FLAG,
)
ENROLL_DEVICE = Table(
    registration_id=Option(
        is_some_text, "1 to 128 letters, digits and -._:", "The device's registration id."
    ),
    credential_policy=Option(
        is_text, "a policy's name, or empty", "The policy by which certificates are issued.", ""
    ),
)
_NAME = Option(is_some_text, "an id, some text", "The id of a device or group.")
ENROLL_CERTIFICATE = Table(
    registration_id=ENROLL_DEVICE["registration_id"],
    group=Option(is_text, "a group's id, or empty", "The group.", ""),
)
ENROLL_GROUP = Table(enrollment_group_id=_NAME)
REGISTRATION = Table(registration_id=_NAME)
ENROLLED = Table(name=_NAME, group=FLAG)
KEEP = Table(
    enrollment=Option(
        instance("mqttws.dps.records.IndividualEnrollment", "mqttws.dps.records.EnrollmentGroup"),
        "an IndividualEnrollment or an EnrollmentGroup",
        "The enrollment.",
    ),
    replace=FLAG,
)
ENROLL_ONCE = Table(
    enrollments=Option(
        lambda value: is_iterable(value) and all(map(KEEP["enrollment"].test, value)),
        "a sequence of IndividualEnrollment and EnrollmentGroup",
        "The enrollments.",
    )
)
EVENT_KINDS = (
    *("connected", "refused", "request", "fault", "assigned", "disconnected", "enrollment"),
)
_KIND = Option(one_of(*EVENT_KINDS), f"one of {', '.join(EVENT_KINDS)}", "The kind of event.")
_ANY_DEVICE = Option(or_none(is_some_text), "an id, or None for any", "The device.", None)
_NUMBER = Option(whole(0, _MANY), "a number, 0 or more", "The number of an event.", 0)
SEEN = Table(
    kind=Option(or_none(_KIND.test), f"{_KIND.allowed}, or None", "The kind of event.", None),
    device=_ANY_DEVICE,
    after=_NUMBER,
)
WAIT_FOR = Table(SEEN, timeout=WAIT["timeout"])
RESTART = Table(seconds=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds of absence."))

# The hub

_DEVICE = Option(is_some_text, "a device id", "The device's name.")
DEVICE = Table(
    device_id=_DEVICE,
    module_id=Option(is_text, "a module's name, or empty", "A module of the device.", ""),
)
_JSON_OBJECT = Option(
    or_none(is_json_object), "a dict with a JSON form, or None", "A JSON object.", None
)
CREATE_DEVICE = Table(
    DEVICE,
    key=Option(
        or_none(is_some_text), "a key in base64, or None", "The primary key.", None, secret=True
    ),
    certificate=Option(
        or_none(lambda value: isinstance(value, bytes | str) and bool(value)),
        "PEM or DER, or None",
        "The device's certificate.",
        None,
    ),
    ca_signed=replace(FLAG, sentence="Recognise it by a certificate of a trusted CA."),
    initial_twin=_JSON_OBJECT,
)
PATCH_TWIN = Table(DEVICE, desired=_JSON_OBJECT, tags=_JSON_OBJECT, replace_all=FLAG)
INVOKE = Table(
    DEVICE,
    method=Option(is_some_text, "a method's name", "The method."),
    response_timeout=Option(is_seconds, SECONDS, "Seconds for the answer.", 30.0),
    connect_timeout=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds for the device to come.", 0.0),
)
SERVICE_INVOKE = Table(
    INVOKE.only("module_id"),
    response_timeout=replace(
        INVOKE["response_timeout"],
        test=whole(5, 300),
        allowed="5 to 300 whole seconds",
        default=30,
    ),
    connect_timeout=replace(
        INVOKE["connect_timeout"],
        test=whole(0, 300),
        allowed="0 to 300 whole seconds",
        default=0,
    ),
)
"""Those that the service API of a hub takes, as the cloud's does."""
SEND = Table(
    device_id=_DEVICE,
    payload=Option(lambda value: isinstance(value, bytes), "bytes", "The message."),
    properties=Option(
        or_none(
            lambda value: (
                isinstance(value, Mapping)
                and all(isinstance(n, str) and isinstance(v, str | None) for n, v in value.items())
            )
        ),
        "a mapping from names to text or None, or None",
        "The sender's own properties.",
        None,
    ),
    message_id=Option(is_text, "a str", "The message's id; empty for none.", ""),
    **dict.fromkeys(
        ("correlation_id", "user_id", "content_type", "content_encoding"),
        Option(is_text, "a str", "A system property; empty for none.", ""),
    ),
    ack=Option(
        one_of("none", "positive", "negative", "full"),
        "'none', 'positive', 'negative' or 'full'",
        "The feedback that is wanted.",
        "none",
    ),
    expires_in=Option(
        or_none(is_seconds_or_0), f"{SECONDS_OR_0}; or None for an hour", "Seconds to live.", None
    ),
)
DISABLE_DEVICE = Table(device_id=_DEVICE, enabled=FLAG)
DROP = Table(device_id=_ANY_DEVICE)
TRUST_CA = Table(
    certificate=Option(
        lambda value: isinstance(value, bytes | str) and bool(value), "PEM or DER", "The CA."
    )
)
CANCEL = Table(
    number=Option(
        or_none(whole(0, _MANY)), "an order's number, or None for all", "The order.", None
    )
)
