"""Which BLAS MLX's products run on. Each case is a process of its own, since a library is bound once and for all."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caa_registry.blas import best_kernel
from caa_registry.elf import RELOCATIONS, _writable, dynamic_section, find_slot, write_slot

linux_cpu = pytest.mark.skipif(
    sys.platform != "linux" or any(d.name.startswith("mlx-cuda") for d in importlib.metadata.distributions()),
    reason="only a Linux CPU needs another BLAS",
)

PRODUCT = """
import numpy as np
import mlx.core as mx
rng = np.random.default_rng(0)
left, right = rng.normal(size=(70, 300)).astype("float32"), rng.normal(size=(300, 50)).astype("float32")
wanted = left.astype("float64") @ right.astype("float64")
error = np.abs(np.array(mx.array(left) @ mx.array(right)) - wanted).max() / np.abs(wanted).max()
"""
TELL = """
import dataclasses, json, os
from caa_registry import blas
found = {**dataclasses.asdict(blas.status()), "threads": blas.threads(), "error": float(error)}
blas.set_threads(1)
print(json.dumps({**found, "one": blas.threads(), "coretype": os.environ.get("OPENBLAS_CORETYPE")}))
"""
BOUND = f"import caa_registry.mx\n{PRODUCT}{TELL}"
SCIPY = "libscipy_openblas"


def tell(program: str = BOUND, **environment: str) -> dict[str, Any]:
    """What the program found, run without the variables of this process that matter."""
    unset = ("CAA_BLAS", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "LD_PRELOAD")
    kept = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**kept, **environment}, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["error"] < 1e-5
    return found


@linux_cpu
def test_scipys_library_is_found_and_used() -> None:
    found = tell()
    assert found["library"].startswith(SCIPY) and "/" not in found["library"] and found["why_not"] == ""
    assert "OpenBLAS" in found["version"] and found["kernel"]
    assert found["threads"] >= 1 and found["one"] == 1
    assert found["coretype"] is None


@linux_cpu
def test_products_really_run_on_it() -> None:
    direct = f"""
import caa_registry.mx
import ctypes, json
from caa_registry import blas
blas.set_threads(1)
{PRODUCT}
direct = np.zeros((70, 50), "float32")
pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (left, right, direct)]
sizes = [ctypes.c_int(n) for n in (70, 50, 300)]
one, none = ctypes.c_float(1), ctypes.c_float(0)
row_major, as_is = 101, 111
ctypes.CDLL(blas._of_scipy()).scipy_cblas_sgemm(
    row_major, as_is, as_is, *sizes, one, pointers[0], 300, pointers[1], 50, none, pointers[2], 50
)
same = bool((np.array(mx.array(left) @ mx.array(right)) == direct).all())
print(json.dumps({{"same": same, "error": float(error)}}))
"""
    # Libraries add up in orders of their own, so that equal bits tell them apart.
    assert tell(direct)["same"]
    assert not tell(direct, CAA_BLAS="none")["same"]


@linux_cpu
def test_mlx_may_be_imported_and_used_first() -> None:
    found = tell(PRODUCT + BOUND)
    assert found["library"].startswith(SCIPY)


@linux_cpu
def test_none_is_mlx_own() -> None:
    found = tell(CAA_BLAS="none")
    assert (found["library"], found["threads"], found["why_not"]) == (None, 1, "CAA_BLAS is none")
    assert found["advice"] == "", "it was the user's choice"


@linux_cpu
def test_a_library_by_its_path() -> None:
    where = """
import json
from caa_registry import blas
from caa_registry.blas import _of_scipy
print(json.dumps({"path": _of_scipy(), "error": 0}))
"""
    path = Path(tell(where)["path"])
    found = tell(CAA_BLAS=str(path))
    assert found["library"] == path.name and found["kernel"], "no folder of this machine is told"


@linux_cpu
@pytest.mark.parametrize(("name", "reason"), [("libnothing-of-it.so", "cannot open"), ("libm.so.6", "cblas_sgemm")])
def test_a_library_that_cannot_be_used(name: str, reason: str) -> None:
    found = tell(CAA_BLAS=name)
    assert found["library"] is None and found["threads"] == 1
    assert found["why_not"].startswith(f"CAA_BLAS: {name}: ") and reason in found["why_not"]
    assert "CAA_BLAS" in found["advice"]


@linux_cpu
def test_wrong_products_are_not_trusted() -> None:
    """A library whose function leaves the result as it was: the old function comes back, and the reason is told."""
    program = """
import ctypes
import caa_registry.blas as blas
nothing = ctypes.CDLL(None).getppid
blas._function = lambda library, name, real=blas._function: nothing if name == "cblas_sgemm" else real(library, name)
"""
    found = tell(program + BOUND)
    assert found["library"] is None and found["why_not"].endswith("its products are wrong")


@pytest.mark.skipif(sys.platform != "linux", reason="slots are written on Linux alone")
def test_a_slot_that_the_linker_made_read_only_is_written_all_the_same() -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(page))
    protect = ctypes.CDLL(None).mprotect
    for address in (first, first + 24):
        assert protect(ctypes.c_void_p(first), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ) == 0
        assert not _writable(address)
        write_slot(address, 2**40 + 1)
        assert ctypes.c_uint64.from_address(address).value == 2**40 + 1
        assert not _writable(address), "the page is as it was"


@linux_cpu
def test_without_scipys_library_mlx_own_is_used_and_the_reason_told() -> None:
    hide = "import caa_registry.blas as blas\nblas.importlib.util.find_spec = lambda name: None\n"
    found = tell(hide + BOUND)
    assert (found["library"], found["why_not"]) == (None, "this installation of scipy brings no OpenBLAS")
    assert "30 times slower" in found["advice"]


@linux_cpu
def test_what_the_program_loaded_itself_is_recognised() -> None:
    loaded = "import ctypes\nreal = ctypes.CDLL\n"
    fake = """
class Process:
    _name = None
    def __init__(self, library): self.__dict__["library"] = library
    def __getattr__(self, name):
        if name == "cblas_sgemm": return self.library.scipy_cblas_sgemm
        return getattr(self.library, name)
import caa_registry.blas as blas
path = blas._of_scipy()
ctypes.CDLL = lambda name=None, *a, **k: Process(real(path)) if name is None else real(name, *a, **k)
"""
    assert tell(loaded + fake + BOUND, CAA_BLAS="none")["library"] == "loaded by the program"


def test_the_best_kernel_for_a_processor() -> None:
    wide = {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    assert best_kernel({"sse2", "avx2", "fma", *wide}) == "SkylakeX"
    assert best_kernel({"avx2", "fma", *wide} - {"avx512vl"}) == "Haswell"
    assert best_kernel({"avx2"}) is None and best_kernel(set()) is None


@linux_cpu
def test_a_run_records_it() -> None:
    program = PRODUCT + "import json\nfrom caa_registry.registry.provenance.runs import environment\n"
    record = "found = environment()\nprint(json.dumps({'blas': found.get('blas'), 'error': float(error)}))\n"
    assert tell(program + record)["blas"] is None, "nothing was computed by this package"
    assert tell("import caa_registry.mx\n" + program + record, CAA_BLAS="none")["blas"] == {"library": "MLX's own"}
    used = tell("import caa_registry.mx\n" + program + record, OPENBLAS_NUM_THREADS="1")["blas"]
    assert set(used) == {"library", "version", "kernel", "threads"}
    assert "/" not in used["library"] and used["threads"] == 1


class File:
    """The tables of an ELF file as a loader lays them out, in memory of this process."""

    def __init__(self, relocations: list[tuple[str, int]], table: int) -> None:
        names = b"\0" + b"".join(name.encode() + b"\0" for name, _ in relocations)
        places = [names.index(b"\0" + name.encode() + b"\0") + 1 for name, _ in relocations]
        symbols = b"".join(struct.pack("<IBBHQQ", place, 0, 0, 0, 0, 0) for place in [0, *places])
        entries = b"".join(
            struct.pack("<QQq", 0x1000 + 8 * i, (i + 1) << 32 | kind, 0) for i, (_, kind) in enumerate(relocations)
        )
        self.kept = [ctypes.create_string_buffer(part, len(part) or 1) for part in (names, symbols, entries)]
        at = [ctypes.addressof(part) for part in self.kept]
        size = {23: 2, 7: 8}[table]
        self.dynamic = {5: at[0], 6: at[1], table: at[2], size: len(entries)}


@pytest.mark.parametrize("machine", RELOCATIONS)
@pytest.mark.parametrize("table", [23, 7])
def test_the_slot_is_found_on_both_machines(machine: str, table: int) -> None:
    """Of aarch64 this is all that is tested: no such machine was at hand."""
    for kind in RELOCATIONS[machine]:
        file = File([("cblas_dgemm", kind), ("free", kind), ("cblas_sgemm", kind)], table)
        assert find_slot(file.dynamic, machine, "cblas_sgemm") == 0x1010
    assert find_slot(File([("cblas_sgemm", 1)], table).dynamic, machine, "cblas_sgemm") is None, (
        "another kind of relocation"
    )
    assert find_slot(File([("cblas_dgemm", RELOCATIONS[machine][0])], table).dynamic, machine, "cblas_sgemm") is None
    other = next(name for name in RELOCATIONS if name != machine)
    assert find_slot(File([("cblas_sgemm", RELOCATIONS[machine][1])], table).dynamic, other, "cblas_sgemm") is None
    assert find_slot(file.dynamic, "riscv64", "cblas_sgemm") is None


def test_a_dynamic_section_is_read_as_far_as_its_end() -> None:
    data = struct.pack("<qQqQqQqQ", 5, 11, 6, 12, 0, 0, 7, 13)
    buffer = ctypes.create_string_buffer(data, len(data))
    assert dynamic_section(ctypes.addressof(buffer)) == {5: 11, 6: 12}
