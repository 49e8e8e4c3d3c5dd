"""Fresh ids: of operations, and of what goes into error answers."""

import itertools
import secrets
import uuid
from collections.abc import Iterator


def operation_ids() -> Iterator[str]:
    """Yield ids as the real service's look: 5, sixteen digits of the instance, a UUID."""
    instance = secrets.token_hex(8)
    while True:
        yield f"5.{instance}.{uuid.uuid4()}"


def tracking_ids() -> Iterator[str]:
    """Yield ids that look like UUIDs: each request takes one, so they are but counted."""
    instance = str(uuid.uuid4())[:24]
    return (f"{instance}{number:012x}" for number in itertools.count())
