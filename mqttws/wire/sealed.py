"""Refusals of a compiled codec, for the pure one too. Loaded by the pure codec alone.

A class that mypyc has compiled cannot be subclassed, and its fields cannot be deleted. A program
that did either would work until it meets a C compiler.
"""


def seal(*classes: type) -> None:
    """Let classes have no further subclass, and keep the fields of their instances."""
    for one in classes:
        setattr(one, "__init_subclass__", classmethod(_refuse))  # noqa: B010 - mypy sees methods
        setattr(one, "__delattr__", _keep)  # noqa: B010


def _refuse(cls: type, /, **_options: object) -> None:
    raise TypeError(f"{cls.__mro__[1].__name__} cannot be subclassed: it may be compiled")


def _keep(self: object, name: str) -> None:
    raise AttributeError(f"{type(self).__name__!r} object attribute {name!r} cannot be deleted")
