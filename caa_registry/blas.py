"""A fast BLAS for MLX on a Linux CPU.

MLX's Linux wheel brings the reference BLAS, which multiplies float32 matrices at about 4 GFLOP/s; the OpenBLAS inside
scipy's wheel does 150 and more on two cores. ``libmlx`` calls ``cblas_sgemm`` through a slot of its relocation table.
``bind`` writes the address of another library's function there, checks a product, and puts the old address back where
the product is wrong. ``caa_registry.mx`` calls it; ``status()`` says what came of it.

``CAA_BLAS`` names another library (a path or a soname), or is ``none`` for MLX's own.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caa_registry.elf import slot_of, write_slot

_FUNCTION = "cblas_sgemm"
# What scipy's build puts before the names of its functions, so that no other library's are mistaken for them.
_PREFIXES = ("", "scipy_")
_GPU_PACKAGES = ("mlx-cuda-12", "mlx-cuda-13")
_CORETYPE = "OPENBLAS_CORETYPE"
_CPUINFO = Path("/proc/cpuinfo")
# What OpenBLAS falls back to on a CPU that it does not know: kernels from before AVX.
_OLD_KERNELS = {"prescott", "core2", "generic"}


@dataclass(frozen=True)
class Blas:
    """What MLX's matrix products on the CPU run on.

    ``library``: the file name of the library in use, ``None`` for MLX's own BLAS. ``version`` and ``kernel``: what the
    library reports, empty where it reports nothing. ``why_not``: why MLX's own is used. ``advice``: what would make
    products faster; empty where nothing would, and where the user chose MLX's own.
    """

    library: str | None = None
    version: str = ""
    kernel: str = ""
    why_not: str = ""
    advice: str = ""


_library: ctypes.CDLL | None = None
_status: Blas | None = None
_lock = threading.Lock()
_shares: list[list[int]] = []
_unshared = 1


def status() -> Blas:
    """What ``bind`` did. Before the first import of ``caa_registry.mx``, that MLX is not loaded."""
    return _status or Blas(why_not="MLX is not loaded")


def threads() -> int:
    """How many threads a matrix product uses, or will once nothing is ``shared`` any more."""
    with _lock:
        return _unshared if _shares else _threads()


def threads_each() -> int:
    """How many threads a matrix product uses now, also while they are ``shared``."""
    with _lock:
        return _threads()


def set_threads(n: int) -> None:
    """Use ``n`` threads, at least 1, from now on. MLX's own BLAS has one thread and stays as it is."""
    global _unshared
    with _lock:
        if _shares:
            _unshared = n
        _set_threads(max(1, n // max((each[0] for each in _shares), default=1)))


@contextmanager
def shared(products: int) -> Iterator[Callable[[int], None]]:
    """Divide the threads among so many products at a time while the context lasts. What it gives changes that number.
    Contexts may overlap: all threads are back when the last one ends. The number of threads changes the last digits."""
    global _unshared
    own = [products]

    def among(products: int) -> None:
        with _lock:
            own[0] = products
            _divide()

    with _lock:
        _unshared = _unshared if _shares else _threads()
        _shares.append(own)
        _divide()
    try:
        yield among
    finally:
        with _lock:
            _shares[:] = [each for each in _shares if each is not own]
            _divide()


def _divide() -> None:
    _set_threads(max(1, _unshared // max((each[0] for each in _shares), default=1)))


def _threads() -> int:
    names = ("openblas_get_num_threads", "MKL_Get_Max_Threads")
    known = [int(function()) for function in (_function(_library, name) for name in names) if function is not None]
    return known[0] if known else 1


def _set_threads(n: int) -> None:
    names = ("openblas_set_num_threads", "MKL_Set_Num_Threads")
    for function in filter(None, (_function(_library, name) for name in names)):
        function(ctypes.c_int(n))


def best_kernel(flags: set[str]) -> str | None:
    """OpenBLAS's name for the best kernels that a CPU with these flags of ``/proc/cpuinfo`` can run."""
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


def bind() -> None:
    """Have MLX, which is imported, multiply with the chosen library. Does its work once; prints and raises nothing."""
    global _library, _status
    if _status is None:
        _library, _status = _bound()


def _bound() -> tuple[ctypes.CDLL | None, Blas]:
    if sys.platform != "linux":
        return None, Blas(why_not="MLX brings a fast BLAS for this system")
    process = ctypes.CDLL(None)
    if hasattr(process, _FUNCTION):  # LD_PRELOAD, or the program loaded one before it imported MLX
        return process, _described("loaded by the program", process)
    wish = os.environ.get("CAA_BLAS", "")
    if wish == "none":
        return None, Blas(why_not="CAA_BLAS is none")
    gpu = next((name for name in _GPU_PACKAGES if _installed(name)), None)
    if gpu is not None and not wish:
        return None, Blas(why_not=f"MLX computes on the GPU ({gpu} is installed)")
    try:
        library, name = _chosen(wish)
        _use(library)
    except OSError as error:
        if wish:
            return None, Blas(why_not=f"CAA_BLAS: {error}", advice="Correct CAA_BLAS, or leave it unset.")
        return None, Blas(why_not=str(error), advice="MLX's own products are 30 times slower. Reinstall scipy and mlx.")
    return library, _described(name, library)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _chosen(wish: str) -> tuple[ctypes.CDLL, str]:
    """The library that ``CAA_BLAS`` names, else scipy's. Raises ``OSError`` where it does not fit."""
    if wish:
        with _coretype():
            library = ctypes.CDLL(wish)
        name = wish
    else:
        name = _of_scipy()
        library = ctypes.CDLL(name)
    if _function(library, _FUNCTION) is None:
        raise OSError(f"{name}: is not a BLAS: it has no {_FUNCTION}")
    if "USE64BITINT" in _version(library):
        raise OSError(f"{name}: takes 64-bit integers, and MLX passes 32-bit ones")
    return library, Path(name).name


def _of_scipy() -> str:
    """The file of the OpenBLAS in scipy's wheel. Raises ``OSError`` where there is none."""
    spec = importlib.util.find_spec("scipy")
    folder = Path(spec.origin).parents[1] / "scipy.libs" if spec and spec.origin else Path()
    for path in sorted(folder.glob("libscipy_openblas*.so")):
        if "64_" not in path.name:  # that build takes 64-bit integers
            return str(path)
    raise OSError("this installation of scipy brings no OpenBLAS")


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


def _use(library: ctypes.CDLL) -> None:
    """Write the library's function into MLX's slot. Raises ``OSError`` where there is no slot, or products are wrong
    afterwards; the slot is then as it was."""
    address = ctypes.cast(_function(library, _FUNCTION), ctypes.c_void_p).value or 0  # type: ignore[arg-type]
    slot = _slot()
    before = ctypes.c_uint64.from_address(slot).value
    write_slot(slot, address)
    if not _multiplies_right():
        write_slot(slot, before)
        raise OSError(f"{Path(library._name).name}: its products are wrong")


def _slot() -> int:
    """The address of the entry through which libmlx calls the function. Raises ``OSError`` where there is none."""
    import mlx.core

    file = Path(mlx.core.__file__).parent / "lib" / "libmlx.so"
    slot = slot_of(ctypes.CDLL(str(file), mode=os.RTLD_NOLOAD | os.RTLD_LAZY), _FUNCTION)
    if slot is None:
        raise OSError(f"{file.name} does not call {_FUNCTION} through a slot")
    return slot


def _multiplies_right() -> bool:
    """Whether products are what sums of elementwise products are. Of small integers both are exact in any order."""
    import mlx.core as mx

    for rows, inner, columns in ((1, 37, 5), (19, 70, 45), (64, 130, 33)):
        left = (mx.arange(rows * inner) % 7 - 3).reshape(rows, inner).astype(mx.float32)
        right = (mx.arange(inner * columns) % 5 - 2).reshape(inner, columns).astype(mx.float32)
        expected = (left[:, :, None] * right[None]).sum(axis=1)
        flipped = mx.contiguous(right.T, stream=mx.cpu).T
        for product in (mx.matmul(left, right, stream=mx.cpu), mx.matmul(left, flipped, stream=mx.cpu)):
            if not mx.array_equal(product, expected, stream=mx.cpu).item():
                return False
    return True


def _described(name: str, library: ctypes.CDLL) -> Blas:
    kernel = _text(library, "openblas_get_corename")
    better = best_kernel(_cpu_flags())
    advice = ""
    if better is not None and kernel.lower() in _OLD_KERNELS:
        do = f"Set {_CORETYPE}={better}, or use a newer OpenBLAS."
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
    """What a function without arguments returns; empty where the library does not have it."""
    function = _function(library, name)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return (function() or b"").decode(errors="replace")


def _function(library: ctypes.CDLL | None, name: str) -> ctypes._NamedFuncPointer | None:
    """A function of a library, by its name or by scipy's name for it."""
    for prefix in _PREFIXES:
        if library is not None and hasattr(library, prefix + name):
            function: ctypes._NamedFuncPointer = getattr(library, prefix + name)
            return function
    return None
