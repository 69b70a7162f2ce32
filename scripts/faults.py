"""Commands in processes in which a chosen write, fsync, rename, statement or commit goes wrong.

A driver imports all that is slow and then forks, so that each attempt costs little; it computes nothing itself, since
MLX's threads do not survive a fork. ``faults.c`` is compiled and preloaded, so that the calls of SQLite are met like
those of Python. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The numbers that faults.c knows. ``tear``: half of a write is done, and the process dies; ``full`` and ``read-only``
# go on from the chosen call.
MODES = {"count": 0, "die": 1, "tear": 2, "fail": 3, "full": 4, "read-only": 5}
# What goes wrong at a statement that writes, or a commit.
STATEMENT_MODES = ("error", "interrupt")
# The same on a server, where the process dies or the server ends its connection.
SERVER_MODES = ("error", "die", "terminate")
_LIBRARY = "CAA_FAULTS_LIBRARY"


def preload(folder: Path) -> None:
    """Compile ``faults.c`` and begin this process again with it, unless it has it."""
    if _LIBRARY in os.environ:
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        raise SystemExit("this needs Linux and a C compiler")
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    os.environ |= {"LD_PRELOAD": str(library), _LIBRARY: str(library)}
    os.execv(sys.executable, [sys.executable, *sys.argv])


def import_slow() -> None:
    """Import what commands use and have it used once, so that forks need not."""
    from caa_registry import blas

    global _bind
    # It multiplies to see that it does it right, so each fork that computes does it.
    _bind, blas.bind = blas.bind, lambda: None
    import mlx_lm.models.llama  # noqa: F401
    import rich.progress  # noqa: F401
    from transformers import AutoTokenizer

    import caa_registry

    share_statements()
    for module in pkgutil.walk_packages(caa_registry.__path__, "caa_registry."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    demo = Path(caa_registry.__file__).parent / "assets" / "demo_model"
    AutoTokenizer.from_pretrained(str(demo))  # it imports what it needs when first used
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAA_HOME"] = folder
        with caa_registry.open(f"{folder}/registry.db") as registry:
            registry.datasets.import_("seed:demo-sentiment", name="team/warm")
            registry.backup(f"{folder}/backup.db")
        with caa_registry.restore(Path(folder, "backup.db"), f"{folder}/restored.db") as registry:
            registry.fsck()
    gc.freeze()


_bind: Callable[[], None] = lambda: None  # noqa: E731


def share_statements() -> None:
    """Have all engines of this process, and its forks, share what they compiled: else each opening of a registry
    compiles the same statements again, which takes longer than running them."""
    from sqlalchemy import util
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
    from sqlalchemy.engine import Engine

    shared: Any = util.LRUCache(2000)
    begin = Engine.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self._compiled_cache = shared

    Engine.__init__ = __init__  # type: ignore[method-assign]
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        # A statement is found by what compiled it.
        dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[assignment,method-assign]
        dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[assignment,method-assign]


def caa(arguments: Sequence[str]) -> tuple[int, str, str]:
    """The command line in this process: exit code, stdout, stderr."""
    from caa_registry.cli import main as command_line

    if "demo" in arguments:
        _bind()
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["caa", *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command_line.main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


@dataclass
class Ended:
    """How a fork ended. ``status``: its exit code, or minus the signal; ``value``: what it gave, if it lived."""

    status: int
    value: Any = None
    trace: str = field(default="")


def forked(work: Callable[[], Any]) -> Ended:
    """Call ``work`` in a fork. What it gives is passed on as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 0
        try:
            text = json.dumps({"value": work()})
        except BaseException:  # noqa: BLE001 - it is told to the parent
            text, status = json.dumps({"trace": traceback.format_exc()}), 1
        with os.fdopen(writer, "w") as pipe:
            pipe.write(text)
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(status, **json.loads(text)) if text else Ended(status)


class Files:
    """The calls that change files below a folder."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ[_LIBRARY])
        self._library.fault_names.restype = ctypes.c_char_p
        self._library.fault_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int)

    def arm(self, folder: Path, at: int, mode: str) -> None:
        self._library.fault_arm(os.fsencode(folder.resolve()), at, MODES[mode])

    def disarm(self) -> list[str]:
        """The calls that there were."""
        self._library.fault_disarm()
        return self._library.fault_names().decode(errors="replace").splitlines()


class Statements:
    """The statements that write, and commits. The ``at``-th one goes wrong."""

    def __init__(self, at: int, mode: str) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self.names: list[str] = []
        self._at, self._mode = at, mode
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda connection: self._met("COMMIT", connection))

    def _statement(self, connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.lstrip().startswith(("SELECT", "PRAGMA", "BEGIN", "SET", "WITH", "SHOW")):
            self._met(statement.split("(")[0].strip()[:40], connection)

    def _met(self, name: str, connection: Any) -> None:
        from sqlalchemy.exc import OperationalError

        self.names.append(name)
        if len(self.names) != self._at:
            return
        if self._mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._mode == "terminate":
            terminate(connection)
            return
        if self._mode == "interrupt":
            raise KeyboardInterrupt
        raise OperationalError(name, {}, sqlite3.OperationalError("disk I/O error"))


def terminate(connection: Any) -> None:
    """Have a PostgreSQL server end a connection, as its administrator would."""
    import psycopg

    pid = connection.connection.driver_connection.info.backend_pid
    url = connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
