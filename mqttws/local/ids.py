"""Fresh ids: of operations, and of what goes into error answers."""

import itertools
import secrets
import uuid
from collections.abc import Iterator


def operation_ids() -> Iterator[str]:
    """Yield ids as the real service's look: 5, sixteen digits of the instance, a UUID."""
    instance = secrets.token_hex(8)
    while True:
        made = secrets.token_hex(16)  # a random UUID (RFC 9562 section 5.4), some digits fixed
        yield f"5.{instance}.{made[:8]}-{made[8:12]}-4{made[13:16]}-a{made[17:20]}-{made[20:]}"


def tracking_ids() -> Iterator[str]:
    """Yield ids that look like UUIDs: each request takes one, so they are but counted."""
    instance = str(uuid.uuid4())[:24]
    return (f"{instance}{number:012x}" for number in itertools.count())
