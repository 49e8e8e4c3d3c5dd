"""Types for the values that callers put into packets, as checker and compiler see them.

A packet's fields are checked when it is encoded, with ``UsageError``. A compiled class would check
a typed field as soon as it is set, with ``TypeError``, which pure Python does not. So a field is
``Given[str]``: a ``str`` for the type checker and the reader, any object for the compiler,
which setup.py tells that ``COMPILING`` is true. This file is not compiled itself.
"""

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar, Union

__all__ = ["Given", "compiled_class"]

COMPILING: Final = False

T = TypeVar("T")

# A type checker that knows nothing of COMPILING takes the last declaration, which is the right one.
if COMPILING:
    Given: TypeAlias = Union[T, Any]  # noqa: UP007  # as an alias with |, mypy takes T for it itself
else:
    Given: TypeAlias = Annotated[T, "as the caller gave it; checked when it is encoded"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as compiled_class
else:

    def compiled_class(**_options):
        """Pass options to the compiler (none of them changes what a class does)."""
        return lambda cls: cls
