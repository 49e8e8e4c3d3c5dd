"""The arguments of methods, of values and of stores."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .common import A_FUNCTION, COMMON, SECONDS, SECONDS_OR_0
from .option import Option, Table
from .values import (
    instance,
    is_bool,
    is_file,
    is_function,
    is_iterable,
    is_mapping,
    is_path,
    is_seconds,
    is_seconds_or_0,
    is_some_text,
    is_text,
    one_of,
    or_none,
    whole,
)

# The clients

QOS = Option(whole(0, 2), "0, 1 or 2", "Quality of service.", 0)
FLAG = Option(is_bool, "True or False", "Whether it is so.", False)

PUBLISH = Table(qos=QOS, retain=FLAG)
SUBSCRIBE = Table(qos=QOS)
LEAVE = Table(timeout=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds for leaving.", 3.0))
WAIT = Table(
    timeout=Option(
        or_none(is_seconds_or_0), f"{SECONDS_OR_0}; or None for any time", "Seconds to wait.", None
    )
)
REDIRECT = Table(
    username=Option(or_none(is_text), "a str, or None", "The user name.", None),
    tls=COMMON["tls"],
)
RENEW = Table(timeout=Option(is_seconds, SECONDS, "Seconds for a certificate.", 120.0))
FAILED = Table(forget=FLAG)

SEND_BATCH = Table(bodies=Option(is_iterable, "an iterable of bodies", "The messages."))
PATCH = Table(
    patch=Option(
        lambda value: isinstance(value, dict), "a dict, a JSON merge patch", "The changes."
    )
)
METHOD = Table(
    name=Option(or_none(is_some_text), "a method's name, or None for all others", "The method."),
    handler=Option(is_function, "a function", "Called with each request."),
    time_limit=Option(is_seconds, SECONDS, "Seconds for the handler.", 30.0),
)

# The local services

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
_DEVICE = Option(is_some_text, "a device id", "The device's name.")
DEVICE = Table(
    device_id=_DEVICE, module_id=Option(is_text, "a module's name, or empty", "The module.", "")
)
_JSON_OBJECT = Option(or_none(is_mapping), "a dict, or None", "A JSON object.", None)
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
    ca_signed=FLAG,
    initial_twin=_JSON_OBJECT,
)
PATCH_TWIN = Table(DEVICE, desired=_JSON_OBJECT, tags=_JSON_OBJECT, replace_all=FLAG)
INVOKE = Table(
    DEVICE,
    method=Option(is_some_text, "a method's name", "The method."),
    response_timeout=Option(is_seconds, SECONDS, "Seconds for the answer.", 30.0),
    connect_timeout=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds for the device to come.", 0.0),
)
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
    **dict.fromkeys(
        ("message_id", "correlation_id", "user_id", "content_type", "content_encoding"),
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

# Values and stores


def _is_pem(value: Any) -> bool:
    """Whether it is the content of a file, or a file's path."""
    return isinstance(value, bytes) or is_path(value)


A_FILE = "a file's path, or its content as bytes"
_FILE = Option(or_none(_is_pem), f"{A_FILE}, or None", "A file or its content.", None, secret=True)
KEY_PASSWORD = Option(
    or_none(lambda value: isinstance(value, str | bytes)),
    "a str, bytes, or None",
    "The password of the private key.",
    None,
    secret=True,
)

TLS = Table(
    ca=_FILE,
    only_ca=FLAG,
    certificate=_FILE,
    key=_FILE,
    key_password=KEY_PASSWORD,
    minimum_version=Option(instance("ssl.TLSVersion"), "TLSv1_2 or TLSv1_3", "The oldest version."),
    maximum_version=Option(instance("ssl.TLSVersion"), "TLSv1_2 or newer", "The newest version."),
    truststore=FLAG,
)
PROXY = Table(
    url=Option(
        or_none(is_some_text),
        "a URL, 'environment', 'none' or None",
        "The proxy's URL.",
        "environment",
        secret=True,
    ),
    login=Option(or_none(is_function), A_FUNCTION, "Asked for a login.", None, secret=True),
    on_challenge=Option(or_none(is_function), A_FUNCTION, "Answers each 407.", None),
    tls=COMMON["tls"],
)
LOGIN = Table(
    username=Option(is_text, "a str", "The user name.", secret=True),
    password=Option(is_text, "a str", "The password.", secret=True),
)
SQLITE_STORE = Table(
    path=Option(
        is_file,
        "a file's path",
        "The file.",
    ),
    synchronous=Option(one_of("FULL", "NORMAL"), "'FULL' or 'NORMAL'", "How it is synced.", "FULL"),
    busy_timeout=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds to wait for a lock.", 2.0),
)
X509 = Table(
    chain=replace(_FILE, test=_is_pem, allowed=A_FILE),
    key=replace(_FILE, test=_is_pem, allowed=A_FILE),
    key_password=KEY_PASSWORD,
)
THREAD_NAME = Table(name=Option(is_text, "a str", "The thread's name, for debuggers.", "mqttws"))
