"""Hostile inputs in a process of their own: its memory and its processor time are bounded, and its peak is told.

The child runs a harmless input and then the hostile ones; each may take ``SECONDS`` of processor time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SECONDS = 10
# Stops what would take the machine with it.
ADDRESS_SPACE = 6 << 30
MOST_ABOVE = 300 << 20

TESTS = Path(__file__).resolve().parents[1]


def peaks(target: str, *arguments: str) -> dict[str, Any]:
    """The report of ``target`` (``module:function``), which runs in a child and calls ``measured``."""
    code = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1]); module, _, name = sys.argv[2].partition(':'); "
        "getattr(importlib.import_module(module), name)(*sys.argv[3:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(TESTS), target, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{target} ended with {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def measured(harmless: Callable[[], object], hostile: Mapping[str, Callable[[], object]]) -> None:
    """Print what each input came to, and how far the peak rose above that of the harmless one, in bytes."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    harmless()
    before = _peak()
    outcomes = {}
    for name, run in hostile.items():
        print(name, flush=True)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        outcomes[name] = str(run())
    print(json.dumps({"outcomes": outcomes, "above": _peak() - before}))


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands the maximum of getrusage on from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
