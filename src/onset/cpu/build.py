"""kernels.c and what is faster in bfloat16, compiled once for this machine by its compiler, and called through ctypes.

Calls release the interpreter's lock, so that threads run them at once. Where there is no C compiler, or where
ONSET_CPU_KERNELS=0 says so, nothing here is used and training runs on torch alone: ``why_not`` tells.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
    "-shared",
)
SOURCES = ("vectors_bfloat16.c", "attention_bfloat16.c", "kernels.c")
TUNING = ("-march=native", "-mprefer-vector-width=512")
"""Left out, from the right, where the compiler does not know them: ``untuned`` tells."""

SWITCH = "ONSET_CPU_KERNELS"
"""Environment variable that turns the kernels off with 0: training is then torch's, to check a number against it."""

_SIGNATURES: dict[str, str] = {
    # p: pointer, i: int64, f: float
    "embed": "pppii",
    "embed_backward": "pppii",
    "norm_forward": "ppppppiif",
    "norm_backward": "pppppppiii",
    "swiglu_forward": "ppii",
    "swiglu_backward": "ppii",
    "cross_entropy": "pppiif",
    "attention_forward": "ppppppiiiii",
    "attention_backward": "ppppppppiiiii",
    "attention_scratch": "ii",
    "tuning": "",
}
_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}
_RETURNS = {"cross_entropy": ctypes.c_double, "attention_scratch": ctypes.c_int64, "tuning": ctypes.c_int64}


Loaded = TypeVar("Loaded")


class Kernels:
    """The functions of kernels.c for one element type; tensors are passed as themselves."""

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        for name, kinds in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.argtypes = [_KINDS[kind] for kind in kinds]
            function.restype = _RETURNS.get(name)
        self._loaded = loaded

    def __getattr__(self, name: str) -> Callable[..., float]:
        function = getattr(self._loaded, name)

        def call(*arguments: Tensor | float | None) -> float:
            result: float = function(
                *[a if a is None or isinstance(a, (int, float)) else a.data_ptr() for a in arguments]
            )
            return result

        setattr(self, name, call)
        return call


def why_not(*, bfloat16: bool) -> str | None:
    """Why the kernels are not used here, as a few words; None where they are."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if compiler() is None:
        return "no C compiler"
    return None if kernels(bfloat16=bfloat16) is not None else "the C compiler does not build the kernels"


def untuned(*, bfloat16: bool) -> str | None:
    """What the compiler refused that fits the kernels to this processor, as a sentence; None where it took all."""
    built = kernels(bfloat16=bfloat16)
    refused = TUNING[int(built.tuning()) :] if built is not None else ()
    return f"the C compiler does not know {' and '.join(refused)}: the kernels are slower" if refused else None


def compiler() -> str | None:
    """The path of a C compiler, or None."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16."""
    return any(feature in ("avx512_bf16", "amx_bf16", "bf16") for feature in _processor().split())


@functools.cache
def identity() -> str | None:
    """A digest of all that the compiled code depends on (source, flags, compiler, processor), or None without one."""
    return None if compiler() is None else identity_of(_source())


def identity_of(source: str) -> str:
    """The same of other C code; there must be a compiler."""
    path = compiler()
    assert path is not None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    parts = (source, *FLAGS, *TUNING, version, platform.machine(), _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@functools.cache
def kernels(*, bfloat16: bool) -> Kernels | None:
    """The compiled functions, built on first use and kept in the user's cache; None where they cannot be built."""
    if (digest := identity()) is None:
        return None
    define = ("-DBFLOAT16",) if bfloat16 else ()
    return loaded(f"kernels-{digest}-{'bfloat16' if bfloat16 else 'float32'}.so", _source(), define, Kernels)


def loaded(name: str, source: str, defines: Sequence[str], load: Callable[[Path], Loaded]) -> Loaded | None:
    """What ``load`` makes of the library of C code, built on first use and kept under its name in the user's cache."""
    for folder in _caches():
        library = folder / name
        try:
            _make_private(folder)
            if library.exists() or _build(library, source, defines):
                return load(library)
        except OSError:  # this folder cannot be written or is not ours alone, or code in it cannot be run: try the next
            continue
    return None


def _make_private(folder: Path) -> None:
    """Make a folder for code that is run, ours alone. Raises PermissionError for one that another user may write to."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _build(library: Path, text: str, defines: Sequence[str]) -> bool:
    path = compiler()
    assert path is not None
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        source, out = Path(folder) / "code.c", Path(folder) / "code.so"
        source.write_text(text, encoding="utf-8")
        for count in range(len(TUNING), -1, -1):
            command = [path, *FLAGS, *TUNING[:count], f"-DTUNING={count}", *defines, str(source), "-o", str(out), "-lm"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                os.replace(out, library)
                return True
    return False


def _source() -> str:
    """All C code as one text: what kernels.c takes up where it is there comes first."""
    here = resources.files("onset.cpu")
    return "".join(here.joinpath(name).read_text(encoding="utf-8") for name in SOURCES)


def _processor() -> str:
    """What -march=native looks at: the processor's features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _caches() -> list[Path]:
    """Where compiled code is kept: the user's cache, else a folder that ends with this process."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path(base) / "onset", Path(_own_folder().name)]


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="onset-")
