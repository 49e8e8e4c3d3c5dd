"""A device's credential for DPS: here, a symmetric key.

Knows how to make a CONNECT's password. Does not send it, and never shows what it is made of.
"""

import hmac
from typing import NoReturn, Self

from ..dps.names import check_registration_id
from ..dps.sas import decode_key, derive_device_key, sign_token
from ..errors import UsageError
from ..options import DIGEST, PASSWORD, SIGN


class SymmetricKey:
    """A device's registration id and its own symmetric key.

    Immutable. The key is in no ``repr``, and it cannot be pickled, so that it does not get into
    logs and files by accident.

    Args:
        registration_id: 1 to 128 letters, digits and ``-._:``.
        key: base64 as DPS shows it, 16 to 64 bytes when decoded; blanks around it do not count.

    Raises:
        UsageError: the id or the key cannot be one. The message does not show the key.
    """

    __slots__ = ("_key", "_registration_id")

    _key: bytes
    _registration_id: str

    def __init__(self, registration_id: str, key: str | bytes) -> None:
        self._set(check_registration_id(registration_id), decode_key(_key_text(key)))

    @classmethod
    def from_group_key(cls, registration_id: str, group_key: str | bytes) -> Self:
        """Derive a device's key from its enrollment group's key.

        For the person who holds the group key, at the desk or in the factory. Do not ship the
        group key in devices: a thief who reads it out of one can pose as any device of the group.

        Raises:
            UsageError: the id or the key cannot be one. The message does not show the key.
        """
        check_registration_id(registration_id)
        credential = cls.__new__(cls)
        key = derive_device_key(decode_key(_key_text(group_key, "group_key")), registration_id)
        credential._set(registration_id, key)
        return credential

    def _set(self, registration_id: str, key: bytes) -> None:
        object.__setattr__(self, "_registration_id", registration_id)
        object.__setattr__(self, "_key", key)

    @property
    def registration_id(self) -> str:
        """The device's registration id, as it was given."""
        return self._registration_id

    def password(self, id_scope: str, unix_now: float, lifetime: int = 3600) -> str:
        """Return a SAS token for this device: a secret until it expires.

        Args:
            id_scope: of the DPS instance.
            unix_now: seconds.
            lifetime: seconds for which the token is good; the official SDKs take an hour.

        Raises:
            UsageError: an argument is invalid, such as a lifetime of less than a second.
        """
        PASSWORD.check(locals())
        resource = f"{id_scope}/registrations/{self._registration_id}"
        return sign_token(resource, self._key, int(unix_now) + int(lifetime))

    def sign(self, resource: str, expiry: int) -> str:
        """Return a SAS token for another resource: an IoT hub takes the same key as DPS.

        Args:
            resource: not quoted, such as ``{hub}/devices/{deviceId}``.
            expiry: Unix time in seconds from which on the token is void.
        """
        SIGN.check(locals())
        return sign_token(resource, self._key, expiry, key_name="")

    def digest(self, context: str) -> str:
        """Return a fingerprint of this key, for ``context`` only; the key is not in it.

        Args:
            context: what the digest is for; another one gives another digest.
        """
        DIGEST.check(locals())
        return f"key:{hmac.new(self._key, f'mqttws {context}'.encode(), 'sha256').hexdigest()}"

    def __repr__(self) -> str:
        return f"SymmetricKey({self._registration_id!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SymmetricKey):
            return NotImplemented
        same_key = hmac.compare_digest(self._key, other._key)
        return same_key and self._registration_id == other._registration_id

    def __hash__(self) -> int:
        return hash(self._registration_id)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"SymmetricKey is immutable: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"SymmetricKey is immutable: {name}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SymmetricKey cannot be pickled: it holds a secret")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _key_text(key: str | bytes, name: str = "key") -> str:
    """Return a key's base64 text; what is not ASCII in it is not base64 and found so later."""
    if isinstance(key, bytes):
        return key.decode("ascii", "replace")
    if not isinstance(key, str):
        raise UsageError(f"{name}: found {type(key).__name__}; allowed: base64 as str or bytes")
    return key
