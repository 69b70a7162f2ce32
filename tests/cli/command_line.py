"""The command ``caa`` in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def caa(*arguments: object) -> Result:
    """``caa ARGUMENTS`` in this process."""
    from caa_registry.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    interrupted = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["caa", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        finally:
            signal.signal(signal.SIGINT, interrupted)  # it lets go of it, since its process ends
    return Result(code, out.getvalue(), err.getvalue())


def process(
    *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, program: str = ""
) -> Result:
    """``caa ARGUMENTS`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, *(["-c", program] if program else ["-m", "caa_registry"]), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
