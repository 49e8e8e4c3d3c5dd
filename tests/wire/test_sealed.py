"""The uncompiled codec's classes refuse what compiled ones refuse."""

from typing import Any

import pytest

from mqttws.wire import COMPILED

if not COMPILED:
    from mqttws.wire.sealed import _replace_init, refuse_subclasses

pytestmark = pytest.mark.skipif(COMPILED, reason="loaded by the codec as it is written alone")


def test_a_sealed_class_has_no_subclass() -> None:
    class One:
        pass

    refuse_subclasses(One)
    with pytest.raises(TypeError, match=r"^One cannot be subclassed: it may be compiled"):
        type("Two", (One,), {})


def test_another_init_takes_the_place_and_the_name_of_the_written_one() -> None:
    class One:
        def __init__(self, value: int) -> None:
            """Words."""

    def quick(self: Any, value: int) -> None:
        self.value = value

    named = One.__init__.__qualname__
    _replace_init(One, quick)
    assert One(5).value == 5  # type: ignore[attr-defined]
    assert (quick.__name__, quick.__qualname__, quick.__doc__) == ("__init__", named, "Words.")
