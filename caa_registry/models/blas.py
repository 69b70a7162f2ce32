"""A fast BLAS for MLX on a Linux CPU. Import this before MLX.

MLX's Linux wheel brings the reference BLAS, which multiplies float32 matrices at about 4 GFLOP/s; OpenBLAS does 150 and
more on two cores. ``libmlx`` looks ``cblas_sgemm`` up in the process, where a library that was loaded globally comes
before its own. So importing this module loads OpenBLAS, else MKL - unless MLX is there already, computes on a GPU, or
the system is none of Linux. It never raises and prints nothing; ``status()`` says what came of it.

``CAA_BLAS`` names the library to load instead (a path or a soname), or is ``none`` for MLX's own BLAS.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPENBLAS = "libopenblas.so.0"
MKL = ("libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so.1")
INSTALL = "Install OpenBLAS (Debian, Ubuntu: apt install libopenblas0-pthread) for 30 times the speed."

_GPU_PACKAGES = ("mlx-cuda-12", "mlx-cuda-13")
_CORETYPE = "OPENBLAS_CORETYPE"
_CPUINFO = Path("/proc/cpuinfo")
# What OpenBLAS falls back to on a CPU that it does not know: kernels from before AVX.
_OLD_KERNELS = {"prescott", "core2", "generic"}


@dataclass(frozen=True)
class Blas:
    """What MLX's matrix products on the CPU run on.

    ``library``: the file name of the library that was loaded, ``None`` for MLX's own BLAS. ``version`` and ``kernel``:
    what the library says of itself, empty where it says nothing. ``why_not``: why MLX's own is used. ``advice``: what
    would make products faster; empty where nothing would, and where the user chose MLX's own.
    """

    library: str | None = None
    version: str = ""
    kernel: str = ""
    why_not: str = ""
    advice: str = ""


def status() -> Blas:
    """What was found when this module was imported."""
    return _STATUS


def threads() -> int:
    """How many threads a matrix product uses."""
    for name in ("openblas_get_num_threads", "MKL_Get_Max_Threads"):
        if hasattr(_LIBRARY, name):
            return int(getattr(_LIBRARY, name)())
    return 1


def set_threads(n: int) -> None:
    """Use ``n`` threads, at least 1, from now on. MLX's own BLAS has one thread and stays as it is."""
    for name in ("openblas_set_num_threads", "MKL_Set_Num_Threads"):
        if hasattr(_LIBRARY, name):
            getattr(_LIBRARY, name)(ctypes.c_int(n))
            return


def best_kernel(flags: set[str]) -> str | None:
    """OpenBLAS's name for the best kernels that a CPU with these flags of ``/proc/cpuinfo`` can run."""
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


def _find() -> tuple[ctypes.CDLL | None, Blas]:
    if sys.platform != "linux":
        return None, Blas(why_not="MLX brings a fast BLAS for this system")
    process = ctypes.CDLL(None)
    if hasattr(process, "cblas_sgemm"):  # LD_PRELOAD, or the program loaded one before it imported MLX
        return process, _described("loaded by the program", process)
    wish = os.environ.get("CAA_BLAS", "")
    if wish == "none":
        return None, Blas(why_not="CAA_BLAS is none")
    gpu = next((name for name in _GPU_PACKAGES if _installed(name)), None)
    if gpu is not None and not wish:
        return None, Blas(why_not=f"MLX computes on the GPU ({gpu} is installed)")
    if "mlx.core" in sys.modules:
        return None, Blas(why_not="MLX was imported first", advice="Import caa_registry.models.blas before MLX.")
    reasons = []
    for name in [wish] if wish else _candidates():
        try:
            with _coretype():
                library = _load(name)
        except OSError as error:
            reasons.append(str(error))
        else:
            return library, _described(Path(name).name, library)
    if wish:
        return None, Blas(why_not=f"CAA_BLAS: {reasons[0]}", advice="Correct CAA_BLAS, or leave it unset.")
    return None, Blas(why_not="neither OpenBLAS nor MKL was found", advice=INSTALL)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _candidates() -> list[str]:
    """Where to look: the system's libraries, and those of this Python, where PyPI's ``mkl`` puts its own."""
    own = Path(sys.prefix, "lib")
    return [OPENBLAS, *MKL, *(str(path) for path in sorted(own.glob("libmkl_rt.so.*"), reverse=True))]


def _load(name: str) -> ctypes.CDLL:
    """Load a library for the whole process, once it is known to fit. Raises ``OSError`` where it does not."""
    library = ctypes.CDLL(name)
    if not hasattr(library, "cblas_sgemm"):
        raise OSError(f"{name}: is no BLAS: it has no cblas_sgemm")
    if "USE64BITINT" in _version(library):
        raise OSError(f"{name}: takes 64-bit integers, and MLX passes 32-bit ones")
    return ctypes.CDLL(name, ctypes.RTLD_GLOBAL)


@contextmanager
def _coretype() -> Iterator[None]:
    """Name the kernels to OpenBLAS, which reads the variable when it is loaded.

    A version older than the CPU does not know it and takes kernels from before AVX: Debian's 0.3.21 runs at a quarter
    of what it can on CPUs that came after it. What the user has set is left alone, and child processes do not inherit
    what is set here.
    """
    kernel = best_kernel(_cpu_flags())
    if kernel is None or _CORETYPE in os.environ:
        yield
        return
    os.environ[_CORETYPE] = kernel
    try:
        yield
    finally:
        del os.environ[_CORETYPE]


def _cpu_flags() -> set[str]:
    if platform.machine() != "x86_64":
        return set()
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def _described(name: str, library: ctypes.CDLL) -> Blas:
    kernel = _text(library, "openblas_get_corename")
    better = best_kernel(_cpu_flags())
    advice = ""
    if better is not None and kernel.lower() in _OLD_KERNELS:
        do = f"Set {_CORETYPE}={better}, or install a newer OpenBLAS."
        if _CORETYPE in os.environ:
            do = f"Unset {_CORETYPE}."
        advice = f"OpenBLAS runs its old {kernel} kernels on this CPU, which can run {better}. {do}"
    return Blas(name, _version(library), kernel, advice=advice)


def _version(library: ctypes.CDLL) -> str:
    if hasattr(library, "MKL_Get_Version_String"):
        text = ctypes.create_string_buffer(200)
        library.MKL_Get_Version_String(text, ctypes.c_int(len(text)))
        return text.value.decode(errors="replace").strip()
    return _text(library, "openblas_get_config").strip()


def _text(library: ctypes.CDLL, name: str) -> str:
    """What a function without arguments says; empty where the library does not have it."""
    function = getattr(library, name, None)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return (function() or b"").decode(errors="replace")


_LIBRARY, _STATUS = _find()
