"""Objects of the user's own Python files, named ``FILE.py:NAME``."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from onset.errors import OnsetError, did_you_mean

_REFERENCE = re.compile(r"^(?P<file>.+\.py)(?::(?P<name>[A-Za-z_][A-Za-z0-9_.]*))?$")


def is_python(reference: str) -> bool:
    """Whether a reference is ``FILE.py`` or ``FILE.py:NAME``."""
    return _REFERENCE.match(reference) is not None


def absolute(reference: str, base: Path | None = None) -> str:
    """The reference with the full path of its file; one that names no Python file as it is."""
    found = _REFERENCE.match(reference)
    if found is None:
        return reference
    path = Path(found["file"]).expanduser()
    path = (path if base is None or path.is_absolute() else base / path).resolve()
    return f"{path}:{found['name']}" if found["name"] else str(path)


def attribute(reference: str, *, default: str, base: Path | None = None) -> tuple[Path, Any]:
    """The file and the object that ``FILE.py:NAME`` names; without a name, the object called ``default``.

    Relative files are taken from ``base``. Raises OnsetError for a file that is missing or cannot be run, and for a
    name that it does not have.
    """
    found = _REFERENCE.match(reference)
    assert found is not None, reference
    path = Path(found["file"]).expanduser()
    path = (path if base is None or path.is_absolute() else base / path).resolve()
    name = found["name"] or default
    value: Any = _module(path)
    for part in name.split("."):
        if not hasattr(value, part):
            public = [one for one in vars(value) if not one.startswith("_")]
            raise OnsetError(f"the file has no '{name}'", where=path, advice=did_you_mean(part, public))
        value = getattr(value, part)
    return path, value


def _module(path: Path) -> ModuleType:
    """The file as a module, run once a process for one state of its text."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise OnsetError(f"cannot read the Python file: {error.strerror}", where=path) from error
    name = f"onset_file_{path.stem}_{hashlib.sha256(str(path).encode() + text).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # any fault of the user's code is told with the file that has it
        del sys.modules[name]
        raise OnsetError(f"the Python file fails: {type(error).__name__}: {error}", where=path) from error
    return module
