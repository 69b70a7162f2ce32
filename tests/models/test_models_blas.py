"""Which BLAS MLX's products run on. Each case is a process of its own, since a library is loaded once and for all."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from caa_registry.models.blas import OPENBLAS, best_kernel

import pytest

pytestmark = pytest.mark.skipif(
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
from caa_registry.models import blas
found = {**dataclasses.asdict(blas.status()), "threads": blas.threads(), "error": float(error)}
blas.set_threads(1)
print(json.dumps({**found, "one": blas.threads(), "coretype": os.environ.get("OPENBLAS_CORETYPE")}))
"""
BLAS_FIRST = f"import caa_registry.models.blas\n{PRODUCT}{TELL}"
MLX_FIRST = PRODUCT + TELL


@pytest.fixture
def openblas() -> None:
    try:
        ctypes.CDLL(OPENBLAS)
    except OSError:
        pytest.skip(f"{OPENBLAS} is not installed")


def tell(program: str = BLAS_FIRST, **environment: str) -> dict[str, Any]:
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


def test_openblas_is_found_and_used(openblas: None) -> None:
    found = tell()
    assert (found["library"], found["why_not"]) == (OPENBLAS, "")
    assert "OpenBLAS" in found["version"] and found["kernel"]
    assert found["threads"] >= 1 and found["one"] == 1


def test_products_really_run_on_it(openblas: None) -> None:
    direct = f"""
import ctypes, json
from caa_registry.models import blas
blas.set_threads(1)
{PRODUCT}
direct = np.zeros((70, 50), "float32")
pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (left, right, direct)]
sizes = [ctypes.c_int(n) for n in (70, 50, 300)]
one, none = ctypes.c_float(1), ctypes.c_float(0)
row_major, as_is = 101, 111
ctypes.CDLL("{OPENBLAS}").cblas_sgemm(
    row_major, as_is, as_is, *sizes, one, pointers[0], 300, pointers[1], 50, none, pointers[2], 50
)
same = bool((np.array(mx.array(left) @ mx.array(right)) == direct).all())
print(json.dumps({{"same": same, "error": float(error)}}))
"""
    # Libraries add up in orders of their own, so that equal bits tell them apart.
    assert tell(direct)["same"]
    assert not tell(direct, CAA_BLAS="none")["same"]


def test_none_is_mlx_own(openblas: None) -> None:
    found = tell(CAA_BLAS="none")
    assert (found["library"], found["threads"], found["why_not"]) == (None, 1, "CAA_BLAS is none")
    assert found["advice"] == "", "it was the user's choice"


def test_a_library_by_its_path(openblas: None) -> None:
    program = f"""
import ctypes, json
ctypes.CDLL("{OPENBLAS}")
path = next(line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line)
print(json.dumps({{"path": path, "error": 0}}))
"""
    path = Path(tell(program)["path"])
    found = tell(CAA_BLAS=str(path))
    assert found["library"] == path.name and found["kernel"], "no folder of this machine is told"


@pytest.mark.parametrize(("name", "reason"), [("libnothing-of-it.so", "cannot open"), ("libm.so.6", "cblas_sgemm")])
def test_a_library_that_cannot_be_used(name: str, reason: str) -> None:
    found = tell(CAA_BLAS=name)
    assert found["library"] is None and found["threads"] == 1
    assert found["why_not"].startswith(f"CAA_BLAS: {name}: ") and reason in found["why_not"]
    assert "CAA_BLAS" in found["advice"]


def test_mlx_first_is_too_late(openblas: None) -> None:
    found = tell(MLX_FIRST)
    assert (found["library"], found["why_not"]) == (None, "MLX was imported first")
    assert "before MLX" in found["advice"]


def test_what_the_program_loaded_itself_is_recognised(openblas: None) -> None:
    loaded = f'import ctypes; ctypes.CDLL("{OPENBLAS}", ctypes.RTLD_GLOBAL)\n'
    for program in (loaded + MLX_FIRST, loaded + BLAS_FIRST):
        found = tell(program, CAA_BLAS="none")
        assert found["library"] == "loaded by the program" and found["kernel"]


def test_nothing_is_found(openblas: None) -> None:
    hide = """
import ctypes
real = ctypes.CDLL
def hidden(name, *arguments):
    if name is not None:
        raise OSError(f"{name}: cannot open")
    return real(name, *arguments)
ctypes.CDLL = hidden
import caa_registry.models.blas
ctypes.CDLL = real
"""
    found = tell(hide + BLAS_FIRST)
    assert (found["library"], found["why_not"]) == (None, "neither OpenBLAS nor MKL was found")
    assert "apt install libopenblas0-pthread" in found["advice"]


def test_the_kernel_is_named_for_the_time_of_loading_only(openblas: None) -> None:
    found = tell()
    assert found["coretype"] is None
    if "DYNAMIC_ARCH" in found["version"]:
        flags = set(Path("/proc/cpuinfo").read_text().split())
        assert found["kernel"] == (best_kernel(flags) or found["kernel"])
        asked = tell(OPENBLAS_CORETYPE="Nehalem")
        assert (asked["kernel"], asked["coretype"]) == ("Nehalem", "Nehalem"), "what the user set is left alone"
        slow = tell(OPENBLAS_CORETYPE="Prescott")
        assert best_kernel(flags) is None or "Unset OPENBLAS_CORETYPE" in slow["advice"]


def test_the_best_kernel_for_a_processor() -> None:
    wide = {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    assert best_kernel({"sse2", "avx2", "fma", *wide}) == "SkylakeX"
    assert best_kernel({"avx2", "fma", *wide} - {"avx512vl"}) == "Haswell"
    assert best_kernel({"avx2"}) is None and best_kernel(set()) is None


def test_a_run_records_it() -> None:
    program = PRODUCT + "import json\nfrom caa_registry.registry.runs import environment\n"
    record = "found = environment()\nprint(json.dumps({'blas': found['blas'], 'error': float(error)}))\n"
    assert tell(program + record)["blas"] == {"library": "MLX's own"}
    blas = tell("import caa_registry.models.blas\n" + program + record, OPENBLAS_NUM_THREADS="1")["blas"]
    if blas != {"library": "MLX's own"}:
        assert set(blas) == {"library", "version", "kernel", "threads"}
        assert "/" not in blas["library"] and (blas["threads"] == 1 or "openblas" not in blas["library"])
