"""Found by each Python program that a test starts: its folder is in PYTHONPATH. Records its errors.

Nothing is done before ``mqttws.errors`` is loaded.
"""

import atexit
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def _error_record() -> Any:
    """Return the module; it is found beside this one, whatever has become of sys.path."""
    spec = spec_from_file_location("_error_record", Path(__file__).with_name("error_record.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Finder:
    """Finds the package's modules as usual; once one is loaded, its class is watched."""

    def __init__(self) -> None:
        self._watched: dict[str, str] = {}
        self._recorder: Any = None

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not name.startswith("mqttws."):
            return None
        if name == "mqttws.errors.base":
            record = _error_record()
            self._watched = dict(record.WATCHED)
            self._recorder = record.Recorder()
            atexit.register(self._recorder.end)
        kind = self._watched.pop(name, None)
        if kind is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            usual = spec.loader.exec_module

            def load(module: ModuleType) -> None:
                usual(module)
                self._recorder.watch(getattr(module, kind))

            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
