"""SAS tokens, signed and checked, and the keys that sign them (``how-to-control-access.md``).

Knows ``SharedAccessSignature sr=..&sig=..&se=..&skn=..``. Does not know who is enrolled, nor what
time it is. No key and no signature ever stands in a message or a ``repr``.
"""

import base64
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..errors import UsageError
from ..text import shown
from ..utf8 import percent_encoded

MIN_KEY_SIZE = 16
MAX_KEY_SIZE = 64
"""The sizes of a symmetric key in bytes, decoded, that DPS accepts."""

_SCHEME = "SharedAccessSignature"
_KEY_NAME = "registration"

WRONG_SIGNATURE = "the token's signature fits none of the keys"


def sign_token(resource: str, key: bytes, expiry: int, key_name: str = _KEY_NAME) -> str:
    """Return a token, its fields in the order of Microsoft's documents.

    Args:
        resource: what it opens, not quoted: ``{id_scope}/registrations/{registration_id}``.
        key: decoded.
        expiry: Unix time in seconds from which on the token is void.
        key_name: the ``skn`` field; left out when empty, as IoT Hub wants it.
    """
    resource_text = percent_encoded(resource, "resource")
    signature = percent_encoded(_signature(resource_text, expiry, key), "signature")
    token = f"{_SCHEME} sr={resource_text}&sig={signature}&se={expiry}"
    return f"{token}&skn={percent_encoded(key_name, 'key name')}" if key_name else token


def _signature(resource_text: str, expiry: int, key: bytes) -> str:
    signed = _signed(resource_text, expiry)
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _signed(resource_text: str, expiry: int) -> bytes:
    return f"{resource_text}\n{expiry}".encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Token:
    """A token's fields. Whether a key has signed it is found out once for each key.

    Attributes:
        resource_text: ``sr`` exactly as it stands in the token, because that text is signed.
        signature: base64, not quoted.
        expiry: Unix time in seconds.
        key_name: ``skn``; empty where it is empty or absent.
    """

    resource_text: str
    signature: str = field(repr=False)
    expiry: int
    key_name: str
    _signers: dict[bytes, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is of."""
        return _signed(self.resource_text, self.expiry)

    def is_signed_by(self, key: bytes) -> bool:
        """Tell whether a key, decoded, has signed the token."""
        known = self._signers.get(key)
        if known is None:
            expected = _signature(self.resource_text, self.expiry, key).encode()
            received = self.signature.encode(errors="replace")
            known = self._signers[key] = hmac.compare_digest(expected, received)
        return known


def parse_token(text: str) -> Token | None:
    """Return a token's fields, which may come in any order; None if it cannot be read."""
    token = read_token(text)
    return token if isinstance(token, Token) else None


def read_token(text: str) -> Token | str:
    """Return the token's fields, or what is wrong with its form."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme != _SCHEME:
        return f"the password does not begin with {_SCHEME}"
    fields: dict[str, str] = {}
    for pair in rest.strip().split("&"):
        # Only the first "=" divides: a value may hold one.
        name, _, value = pair.partition("=")
        if name in fields:
            return f"the token has two fields {shown(name)}"
        fields[name] = value
    for name in ("sr", "sig", "se"):
        if not fields.get(name):
            return f"the token has no {name}"
    expiry = fields["se"]
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 16):
        return f"the token's se is {shown(expiry)}; allowed: Unix time in whole seconds"
    if "=" in fields["sig"]:
        return "the token's sig is not percent-encoded"
    # Plain percent-decoding: form decoding would make a blank of a "+", which is data here.
    signature = unquote(fields["sig"])
    return Token(fields["sr"], signature, int(expiry), unquote(fields.get("skn", "")))


def token_fault(  # noqa: PLR0917 - token, whose it must be, and when: the call reads in that order
    token: str | Token,
    id_scope: str,
    registration_id: str,
    keys: Iterable[bytes],
    unix_now: float,
    leeway: float = 0,
) -> str | None:
    """Say why a token is not good; None if it is.

    The MAC is checked over the very text of ``sr`` that was received, since every SDK quotes it
    differently; ids are compared without regard to case. The reason is for a log: it holds no
    secret.

    Args:
        token: the password of the device's CONNECT, or what ``read_token`` has made of it.
        id_scope: the service's.
        registration_id: the device's.
        keys: any of which may have signed it, decoded.
        unix_now: seconds.
        leeway: seconds after its expiry for which a token is still taken.
    """
    read = read_token(token) if isinstance(token, str) else token
    if isinstance(read, str):
        return read
    fault = _resource_fault(read.resource_text, id_scope, registration_id)
    if fault:
        return fault
    if read.key_name not in ("", _KEY_NAME):
        return f"the token's skn is {shown(read.key_name)}; allowed: registration, or none"
    if not is_signed(read, keys):
        return WRONG_SIGNATURE
    if read.expiry + leeway <= unix_now:
        return f"the token expired {unix_now - read.expiry:.0f} s ago"
    return None


def is_signed(token: Token, keys: Iterable[bytes]) -> bool:
    """Tell whether one of the keys has signed the token.

    Every key is tried, so that the time taken tells nothing.
    """
    fits = [token.is_signed_by(key) for key in keys]
    return any(fits)


def _resource_fault(resource_text: str, id_scope: str, registration_id: str) -> str | None:
    """Say whether ``sr`` names something else than this device in this scope."""
    found = unquote(resource_text).lower()
    scope, separator, device = found.partition("/registrations/")
    if not separator:
        return f"the token is for {shown(found)}; allowed: {{idScope}}/registrations/{{id}}"
    if scope != id_scope.lower():
        return f"the token is for id scope {shown(scope)}"
    if device != registration_id.lower():
        return f"the token is for registration id {shown(device)}"
    return None


def decode_key(text: str) -> bytes:
    """Return the bytes of a key that is written in base64; blanks around it do not count.

    Raises:
        UsageError: not base64, or not 16 to 64 bytes. The message does not show the key.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = None
    if key is None:
        # Raised out here: the other exception must not travel along, it knows the text.
        fault, remedy = _key_fault(text.strip())
        raise UsageError(f"the key is not base64{fault}", hint=remedy)
    if not MIN_KEY_SIZE <= len(key) <= MAX_KEY_SIZE:
        raise UsageError(
            f"a key of {len(key)} bytes; allowed: {MIN_KEY_SIZE} to {MAX_KEY_SIZE}",
            hint="copy it whole, with the = at its end",
        )
    return key


def _key_fault(text: str) -> tuple[str, str]:
    """Return what stands in a key's place, and what to do; nothing of the text is in it."""
    if "SharedAccessKey=" in text or "HostName=" in text:
        return ": it is a connection string", "give the value of its SharedAccessKey alone"
    if text.startswith(_SCHEME):
        return ": it is a SAS token", "give the key that signs tokens"
    if "-----BEGIN" in text:
        return ": it is PEM", "give a symmetric key; a certificate is another kind of credential"
    if "\0" in text:
        return ": it is UTF-16 text (PowerShell's >)", "write it as ASCII or UTF-8"
    if text[:1] in ("'", '"') and text[-1:] == text[:1]:
        return ": it stands in quotation marks", "take them away"
    if len(text.split()) > 1:
        return (
            ": it is folded, or has blanks in it",
            "copy it whole, in one line",
        )
    if _URL_SAFE.fullmatch(text):
        return ": it is the form for URLs, with - and _", "copy it as DPS shows it, with + and /"
    if _UNPADDED.fullmatch(text):
        return ": its end is missing", "copy it whole, with the = at its end"
    return "", "copy it whole, with the = at its end"


_UNPADDED = re.compile(r"[A-Za-z0-9+/]+=?")
_URL_SAFE = re.compile(r"(?=.*[-_])[A-Za-z0-9_-]+={0,2}")


def derive_device_key(group_key: bytes, registration_id: str) -> bytes:
    """Return a group device's own key, 32 bytes (``concepts-symmetric-key-attestation.md``).

    The id counts as written: another case gives another key.
    """
    return hmac.digest(group_key, registration_id.encode(), "sha256")
