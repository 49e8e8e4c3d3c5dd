"""The arguments of methods, of values and of stores."""

from dataclasses import replace
from typing import Any

from .common import A_FUNCTION, COMMON, SECONDS, SECONDS_OR_0
from .option import MAX_SECONDS, REQUIRED, Option, Table
from .values import (
    instance,
    is_bool,
    is_file,
    is_function,
    is_iterable,
    is_json,
    is_number,
    is_path,
    is_seconds,
    is_seconds_or_0,
    is_sequence,
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
    chain=replace(_FILE, test=_is_pem, allowed=A_FILE, default=REQUIRED),
    key=replace(_FILE, test=_is_pem, allowed=A_FILE, default=REQUIRED),
    key_password=KEY_PASSWORD,
)
THREAD_NAME = Table(name=Option(is_text, "a str", "The thread's name, for debuggers.", "mqttws"))
CLOSE = Table(timeout=Option(is_seconds_or_0, SECONDS_OR_0, "Seconds for the end.", 5.0))
CALL = Table(
    work=Option(is_function, "a function that makes a coroutine", "What is to be done."),
    timeout=WAIT["timeout"],
)
POST = Table(job=Option(is_function, "a function", "What is to be done."))
LOAD = Table(client_id=Option(is_text, "a str", "The client's name."))
SAVE = Table(steps=Option(is_sequence, "a sequence of steps", "The changes."))

# Credentials and assignments

_UNIX_TIME = Option(
    lambda value: is_number(value) and 0 <= value < 2**53, "Unix time in seconds", "The time."
)
PASSWORD = Table(
    id_scope=Option(is_some_text, "an ID scope", "The ID scope of the DPS instance."),
    unix_now=_UNIX_TIME,
    lifetime=Option(
        lambda value: is_number(value) and 1 <= value < MAX_SECONDS,
        f"seconds, 1 or more, less than {MAX_SECONDS:g}",
        "Seconds for which the token is good.",
        3600,
    ),
)
SIGN = Table(
    resource=Option(is_some_text, "a resource, not quoted", "The resource."),
    expiry=Option(whole(0, 2**53), "Unix time in whole seconds", "The end of the token."),
)
DIGEST = Table(context=Option(is_text, "a str", "The digest's use."))
CONTEXT = Table(tls=COMMON["tls"])
RENEWAL = Table(
    unix_now=_UNIX_TIME,
    chance=Option(
        lambda value: is_number(value) and 0 <= value <= 1, "0 to 1", "A random number.", 0.0
    ),
)
METHOD_RESPONSE = Table(
    payload=Option(is_json, "a value with a JSON form", "The answer's payload.", None)
)
