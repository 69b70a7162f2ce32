"""Have every write, fsync, rename, statement and commit of every operation go wrong once, and look at what is left.

    python scripts/check_faults.py                       # everything on SQLite; about an hour on one core
    python scripts/check_faults.py --every 10            # every tenth point of each
    python scripts/check_faults.py --only gc --mode die  # one operation, one way of going wrong
    python scripts/check_faults.py --server              # statements and commits on PostgreSQL
    python scripts/check_faults.py --json                # figures as one flat JSON object on stdout

At each point of an operation in turn the process dies, a write is torn, a call fails, or the disk is full or read-only
from there on; a statement or a commit fails or is interrupted. Afterwards the registry is as before or as after the
operation, or, where it takes several transactions, in between; fsck finds nothing but orphan blobs; what was told to be
done is done; and the operation run again has the same result. ``same`` counts where every byte of the folder is as
before, so that there was nothing to look into. Linux with a C compiler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_operations import OPERATIONS, Operation, Said, content, differences, faults, said, sizes
from faults import MODES, SERVER_MODES, STATEMENT_MODES, Files, Statements, caa, forked, import_slow, preload

_FILE_MODES = tuple(mode for mode in MODES if mode != "count")
# What an operation says when the disk takes no more.
_PLAIN = "Error: "


@dataclass
class Start:
    """What an operation starts from and comes to. ``files`` and ``statements``: the points of each; ``bytes``: of the
    folder that it starts from, as a digest; ``left``: what is in the folder afterwards."""

    folder: Path
    bytes: str
    base: Said | None
    source: Said | None
    whole: Said
    files: list[str]
    statements: list[str]
    left: frozenset[str]


class Campaign:
    def __init__(self, root: Path, server: Any = None) -> None:
        self.root, self.work, self.server = root, root / "work", server
        self.counts: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.problems: list[str] = []
        os.environ["CAA_HOME"] = str(self.work / "home")

    def make(self) -> None:
        """The registries that all operations start from."""
        ended = forked(lambda: _make(self.root))
        assert ended.status == 0, ended.trace
        faults(self.root / "registry.db")  # compiles what forks use

    def start(self, operation: Operation) -> Start:
        folder = self.root / "start"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        shutil.copy(self.root / "registry.db", self.work / "registry.db")
        shutil.copy(self.root / "more.jsonl", self.work)
        if operation.prepare:
            operation.prepare(self.work)
        if self.server:
            self.server.begin(self.work / "registry.db")
        for command in operation.before:
            ended = forked(lambda command=command: caa(self.filled(command, operation)))
            assert ended.status == 0 and ended.value[0] == 0, (operation.name, command, ended)
        shutil.copytree(self.work, folder)
        if self.server:
            self.server.keep()
        start = Start(folder, "" if self.server else _bytes(folder), None, None, {}, [], [], frozenset())
        start.base = self.said(operation)
        start.source = said(self.work / operation.source) if operation.source else None
        for kind in ("files", "statements"):
            self.reset(start)
            ended = forked(lambda kind=kind: self.attempt(operation, kind, 0, "count"))
            assert ended.status == 0 and ended.value["code"] == 0, (operation.name, ended)
            setattr(start, kind, ended.value["names"])
        start.whole = self.said(operation) or {}
        start.left = frozenset(_names(self.work))
        found = forked(lambda: faults(self.place(operation)))
        assert found.value == [], (operation.name, found)
        if operation.target == "registry.db" and not self.server:
            assert faults(start.folder / "registry.db") == []
        return start

    def reset(self, start: Start) -> None:
        shutil.rmtree(self.work)
        shutil.copytree(start.folder, self.work)
        if self.server:
            self.server.reset()

    def place(self, operation: Operation) -> str | Path:
        return self.server.url if self.server else self.work / operation.target

    def filled(self, arguments: tuple[str, ...], operation: Operation) -> list[str]:
        words = [word.format(work=self.work) for word in arguments]
        if "--registry" in words or words[0] == "copy":
            return words
        return ["--registry", self.server.url if self.server else str(self.work / "registry.db"), *words]

    def said(self, operation: Operation) -> Said | None:
        place = self.place(operation)
        return None if isinstance(place, Path) and not place.exists() else said(place)

    def attempt(self, operation: Operation, kind: str, at: int, mode: str) -> dict[str, Any]:
        """The operation, of which one point goes wrong. In a fork."""
        arguments = self.filled(operation.arguments, operation)
        if kind == "files":
            points = Files()
            points.arm(self.work, at, mode)
            code, out, err = caa(arguments)
            return {"code": code, "err": err, "out": out, "names": points.disarm()}
        statements = Statements(at, mode)
        code, out, err = caa(arguments)
        return {"code": code, "err": err, "out": out, "names": statements.names}

    def verify(self, operation: Operation, start: Start, lived: bool, code: int) -> dict[str, Any]:
        """What is left, and what the operation comes to when it is run again. In a fork."""
        found: list[str] = []
        after = self.said(operation)
        state = "unchanged" if after == start.base else "done" if after == start.whole else "partly"
        if lived and code == 0 and state != "done":
            found.append(f"it said that it was done: {differences(after or {}, start.whole)}")
        if operation.source and said(self.work / operation.source) != start.source:
            found.append("what it read was changed")
        if state == "unchanged" and start.bytes and _bytes(self.work) == start.bytes:
            # Not a byte is different: what was said of the start holds, and to run it again is to run it.
            return {"state": state, "problems": found, "left": [], "same": True, "rounded": False}
        if after is not None:
            found += faults(self.place(operation))
        code, _, err = caa(self.filled(operation.arguments, operation))
        if code != 0 and not (state == "done" and operation.again and operation.again in err):
            found.append(f"again: {code}: {err.strip()}")
        again = self.said(operation) or {}
        same = again == start.whole if state == "unchanged" else content(again) == content(start.whole)
        rounded = not same and operation.rounded and sizes(again) == sizes(start.whole)
        repeated = state == "done" and operation.repeats
        if not (same or rounded or repeated):
            found.append(f"the second time it came to something else: {differences(again, start.whole)}")
        if state != "unchanged" or rounded:
            found += faults(self.place(operation))
        return {
            "state": state,
            "problems": found,
            "left": sorted(_names(self.work) - start.left),
            "same": False,
            "rounded": rounded,
        }

    def case(self, operation: Operation, start: Start, kind: str, at: int, mode: str) -> None:
        self.reset(start)
        ended = forked(lambda: self.attempt(operation, kind, at, mode))
        lived, value = ended.value is not None, ended.value or {"code": -1, "err": ""}
        problems = []
        if mode in ("die", "tear") and ended.status != -9 and kind == "files":
            problems.append(f"it did not die: {ended.status} {value['err']}")
        if ended.trace:
            problems.append(ended.trace)
        if lived and value["code"] != 0:
            words = value["err"].strip().splitlines()
            line = next((line for line in words if line.startswith((_PLAIN, "Interrupted"))), "")
            if not line:
                problems.append(f"it ends with {value['code']} and no plain words: {value['err'].strip()}")
            self.words[f"{mode}: {line.replace(str(self.work), '')}"] += 1
        checked = forked(lambda: self.verify(operation, start, lived, value["code"]))
        if checked.value is None:
            problems.append(f"the look at it failed: {checked.status} {checked.trace}")
        else:
            problems += checked.value["problems"]
            self.counts[checked.value["state"]] += 1
            self.counts["left"] += bool(checked.value["left"])
            self.counts["same"] += checked.value["same"]
            self.counts["rounded"] += checked.value["rounded"]
        self.counts["cases"] += 1
        name = (start.files if kind == "files" else start.statements)[at - 1]
        for problem in problems:
            self.problems.append(f"{operation.name}, {mode} at {at} ({name}): {problem}")
            print(f"    PROBLEM {self.problems[-1]}", file=sys.stderr, flush=True)


def _make(root: Path) -> None:
    import damage

    rows = [{"prompt": f"Is tea {i} good?", "positive": "Yes", "negative": "No"} for i in range(6)]
    (root / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    damage.make_unplanned(root / "registry.db")


def _bytes(folder: Path) -> str:
    """A digest of every file in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def _names(folder: Path) -> set[str]:
    """The files and folders in a folder, those for temporary use under one name."""
    return {path.name if not path.name.startswith(".caa-") else ".caa-" for path in folder.iterdir()}


def run(campaign: Campaign, operation: Operation, modes: list[str], every: int, first: int) -> dict[str, int]:
    """Every ``every``-th point of an operation, in each mode; how many cases there were by what goes wrong."""
    start = campaign.start(operation)
    done: dict[str, int] = {"files": len(start.files), "statements": len(start.statements)}
    for mode in modes:
        kind = "files" if mode in _FILE_MODES and not campaign.server else "statements"
        points = start.files if kind == "files" else start.statements
        able = [at for at, name in enumerate(points, 1) if _able(mode, name)]
        chosen = able[first % every :: every]
        for at in chosen:
            campaign.case(operation, start, kind, at, mode)
        done[mode] = len(chosen)
        print(f"{operation.name}, {mode}: {len(chosen)}", file=sys.stderr, flush=True)
    return done


def _able(mode: str, call: str) -> bool:
    """Whether a call can go wrong in this way, other than the next one that can."""
    begins = {"tear": ("write ",), "full": ("write ", "create ", "link ", "mkdir ")}
    return call.startswith(begins.get(mode, ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="operations, separated by semicolons")
    parser.add_argument("--mode", help="ways of going wrong, separated by commas")
    parser.add_argument("--every", type=int, default=1, help="only every so many points")
    parser.add_argument("--first", type=int, default=0, help="the first of these")
    parser.add_argument("--server", action="store_true", help="on PostgreSQL")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    known = [operation.name for operation in OPERATIONS]
    unknown = [name for name in (options.only or "").split(";") if options.only and name not in known]
    if unknown:
        parser.error(f"there is no operation {unknown[0]!r}; there are {'; '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="caa-faults-") as folder:
        preload(Path(folder))
        return campaign(Path(folder), options)


def campaign(root: Path, options: argparse.Namespace) -> int:
    import_slow()
    server = None
    if options.server:
        from fault_server import Server

        server = Server()
    possible = SERVER_MODES if server else (*_FILE_MODES, *STATEMENT_MODES)
    modes = options.mode.split(",") if options.mode else list(possible)
    names = options.only.split(";") if options.only else [each.name for each in OPERATIONS]
    whole = Campaign(root, server)
    whole.make()
    figures: Counter[str] = Counter()
    begun = time.monotonic()
    for operation in OPERATIONS:
        if operation.name not in names or (server and operation.target != "registry.db"):
            continue
        done = run(whole, operation, modes, options.every, options.first)
        figures.update(done)
        line = ", ".join(f"{count} {name}" for name, count in done.items())
        print(f"{operation.name}: {line} ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
    for words, count in whole.words.most_common():
        print(f"{count:6} {words}", file=sys.stderr)
    figures["problems"] = len(whole.problems)
    figures.update(
        {name: whole.counts[name] for name in ("cases", "same", "unchanged", "done", "partly", "rounded", "left")}
    )
    if options.json:
        print(json.dumps(figures))
    else:
        print(", ".join(f"{count} {name}" for name, count in figures.items()))
    return 1 if whole.problems else 0


if __name__ == "__main__":
    sys.exit(main())
