"""The options that several calls take."""

from .option import MAX_SECONDS, Option, Table
from .values import instance, is_function, is_proxy, is_seconds, or_none

SECONDS = f"seconds, more than 0, less than {MAX_SECONDS:g}"
SECONDS_OR_0 = f"seconds, 0 or more, less than {MAX_SECONDS:g}"
A_FUNCTION = "a function, or None"
A_PORT = "a port: 1 to 65535, or None"
A_LISTENING_PORT = "a port: 1 to 65535, 0 for a free one, or None"
MANY = 2**31 - 1

COMMON = Table(
    tls=Option(
        or_none(instance("mqttws.net.tls.TlsConfig", "ssl.SSLContext")),
        "a TlsConfig, an ssl.SSLContext, or None",
        "CAs to trust, and the client's certificate.",
        None,
        secret=True,
    ),
    proxy=Option(
        or_none(is_proxy),
        "a URL, a ProxyConfig, 'environment', 'none' or None",
        "The proxy: a URL, 'environment' for the variables of the environment, 'none'.",
        "environment",
        secret=True,
    ),
    timeout=Option(is_seconds, SECONDS, "Seconds for the whole call.", 120.0),
    hop_timeout=Option(is_seconds, SECONDS, "Seconds for each hop of the way.", 15.0),
    request_timeout=Option(
        is_seconds, SECONDS, "Seconds for each answer of a peer that is connected.", 30.0
    ),
    on_step=Option(
        or_none(is_function), A_FUNCTION, "Called with each step, at its begin and its end.", None
    ),
    on_packet=Option(
        or_none(is_function),
        A_FUNCTION,
        "Called with each packet sent and received, secrets included.",
        None,
    ),
)
