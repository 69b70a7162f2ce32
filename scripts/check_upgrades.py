"""Upgrade registries that the code of every earlier schema wrote, whole and killed at every step, and compare them.

    python scripts/check_upgrades.py                     # every schema, every tenth step; about half an hour
    python scripts/check_upgrades.py --every 1           # every step
    python scripts/check_upgrades.py --keep FOLDER       # keep the old registries there, and use what is there
    python scripts/check_upgrades.py --json              # figures as one flat JSON object on stdout

For each file in migrations/versions the newest commit at which it was the newest is taken out of git, and its own
command line makes a registry. Today's code upgrades it: every cell that was there is there, ``fsck`` finds nothing, the
copy that it leaves is the file as it was. The upgrade is then killed, torn, failed and starved of space step by step
(``check_faults``), and several processes open the file at once while one of them is killed. Linux with a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import check_faults
from damage_fsck import Dump, columns, dump
from fault_operations import Operation, faults
from faults import forked, import_slow, preload

ROOT = Path(__file__).resolve().parents[1]
_MODES = ["die", "tear", "fail", "full", "error"]
_TOGETHER = 4

# The cells that an upgrade may change, and why.
CHANGED = {
    ("meta", "value"): "which release wrote the schema",
    ("run", "row_digest"): "0012 has it cover what the run read and made",
    ("dataset_version", "row_digest"): "0014 has it cover who made the version",
    ("vector_version", "row_digest"): "0014 has it cover who made the version",
}


def newest_commits() -> dict[str, str]:
    """By number of a migration the newest commit that has it as its newest: how it was when the next one came."""
    log = subprocess.run(["git", "rev-list", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    for commit in log.stdout.split():
        tree = subprocess.run(
            ["git", "ls-tree", "--name-only", commit, "migrations/versions/"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        names = sorted(Path(line).stem for line in tree.stdout.split() if Path(line).stem[:4].isdigit())
        if names:
            found.setdefault(names[-1][:4], commit)
    return dict(sorted(found.items()))


def commands(folder: Path) -> list[list[str]]:
    """What makes a registry of everything. Earlier code knows fewer of them."""
    rows = [
        {
            "prompt": f"Was dish {i} good?\n\nChoices:\n (A) It was bad.\n (B) It was good.",
            "positive": "(B)",
            "negative": "(A)",
        }
        for i in range(14)
    ]
    for name, some in (("generate", rows[:8]), ("test", rows[8:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (folder / "questions.jsonl").write_text("".join(json.dumps({"question": f"How was {i}?"}) + "\n" for i in range(3)))
    splits = [word for name in ("generate", "test") for word in ("--split", f"{name}={folder}/{name}.jsonl")]
    demo = ["--model", "demo"]
    return [
        ["init"],
        ["dataset", "import", *splits, "--name", "team/dishes"],
        ["dataset", "import", f"{folder}/questions.jsonl", "--name", "team/questions"],
        ["dataset", "import", "seed:demo-sentiment", "--name", "team/seed"],
        ["dataset", "filter", "team/dishes", "'1' in prompt", "--message", "fewer"],
        ["dataset", "lint", "team/dishes:v1"],
        ["dataset", "recall", "team/dishes:v2", "--why", "unclear"],
        ["model", "add", "demo"],
        ["vector", "compute", "team/praise", "--dataset", "team/dishes:v1", *demo],
        ["vector", "compute", "team/praise", "--dataset", "team/dishes:v1", "--layers", "1-2", *demo],
        ["eval", "propensity", "team/praise:v1", "--layers", "1", *demo],
        ["eval", "side-effects", "team/praise:v1", "--layers", "1", "--multipliers", "0,1", *demo],
        [
            "eval",
            "open-ended",
            "team/praise:v1",
            "--dataset",
            "team/questions",
            "--layer",
            "1",
            "--max-tokens",
            "4",
            *demo,
        ],
        ["alias", "set", "team/praise:v1", "best"],
        ["eval", "plan", "team/plan", "--vector", "team/praise:v1", "--layers", "1", "--draws", "19"],
        ["eval", "run", "team/plan"],
        ["deprecate", "team/praise:v2", "--why", "another method"],
        ["delete", "evaluation:2"],
    ]


def build(commit: str, path: Path, root: Path) -> list[str]:
    """Have the code of a commit make a registry at ``path``; the commands that it does not know or refuses."""
    code = root / "code"
    shutil.rmtree(code, ignore_errors=True)
    code.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x"], cwd=code, input=archive.stdout, check=True)
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    environment |= {"PYTHONPATH": str(code), "CAA_HOME": str(root / "home"), "CAA_REGISTRY": str(path)}
    refused = []
    for command in commands(root):
        program = [sys.executable, "-m", "caa_registry", *command]
        done = subprocess.run(program, cwd=code, env=environment, capture_output=True, check=False)
        if done.returncode:
            refused.append(" ".join(command[:2]))
    return refused


def lost(before: Dump, before_columns: dict[str, list[str]], path: Path) -> list[str]:
    """The cells of an old registry that the upgraded one does not have."""
    now, now_columns = dump(path), columns(path)
    found = []
    for table, rows in before.items():
        if table in ("caa_alembic_version", "sqlite_sequence"):
            continue
        if table not in now:
            found.append(f"table {table}")
            continue
        places = {name: number for number, name in enumerate(now_columns[table])}
        compared = [name for name in before_columns[table] if name in places and (table, name) not in CHANGED]
        old = {name: number for number, name in enumerate(before_columns[table])}
        kept = Counter(tuple(repr(row[places[name]]) for name in compared) for row in now[table].values())
        for row in rows.values():
            cells = tuple(repr(row[old[name]]) for name in compared)
            if kept[cells]:
                kept[cells] -= 1
            else:
                found.append(f"{table}: {' '.join(cells)[:200]}")
    return found


def together(path: Path, chance: random.Random) -> list[str]:
    """Several processes open an old file at once; one of them is killed at a random moment. What went wrong."""
    pids = []
    reader, writer = os.pipe()
    for _ in range(_TOGETHER):
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)  # all begin when the other end is closed
            os._exit(0 if _opens(path) else 1)
        pids.append(pid)
    os.close(reader)
    os.close(writer)
    victim = chance.choice(pids)
    _wait(chance.random() * 0.5)
    os.kill(victim, signal.SIGKILL)
    codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
    return [f"a process that opened it ended with {code}" for pid, code in codes.items() if code and pid != victim]


def _wait(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


def _opens(path: Path) -> bool:
    import caa_registry as caa

    with caa.open(str(path), create=False) as registry:
        return bool(list(registry.datasets.ls()))


def old_registries(root: Path, keep: Path, only: Sequence[str]) -> dict[str, Path]:
    """By name of a migration, a registry that was made when it was the newest."""
    found = {}
    for name, commit in newest_commits().items():
        if only and name[:4] not in only:
            continue
        path = keep / f"{name}.db"
        if not path.exists():
            refused = build(commit, path, root)
            print(
                f"{name}: made by {commit[:7]}, without {', '.join(refused) or 'nothing'}", file=sys.stderr, flush=True
            )
        found[name] = path
    return found


def upgraded(name: str, path: Path, folder: Path) -> list[str]:
    """Upgrade a copy; what is not as it should be."""
    import caa_registry as caa

    copy = folder / f"{name}-copy.db"
    shutil.copy(path, copy)
    before, before_columns = dump(path), columns(path)
    with caa.open(str(copy), create=False) as registry:
        problems = [f"fsck: {each.check}: {each.thing}: {each.problem}" for each in registry.fsck().damage]
    problems += [f"it lacks {cell}" for cell in lost(before, before_columns, copy)]
    kept = copy.with_name(f"{copy.name}.bak-{name[:4]}")
    if kept.exists() and dump(kept) != before:
        problems.append("the copy that it left is not the file as it was")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=10, help="only every so many steps (default 10)")
    parser.add_argument("--rounds", type=int, default=5, help="how often several open each at once (default 5)")
    parser.add_argument("--only", default="", help="revisions, separated by commas")
    parser.add_argument("--keep", type=Path, help="where old registries are, or are kept")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caa-upgrades-") as folder:
        preload(Path(folder))
        return run(Path(folder), options)


def run(root: Path, options: argparse.Namespace) -> int:
    keep = options.keep or root / "kept"
    keep.mkdir(parents=True, exist_ok=True)
    old = old_registries(root, keep.resolve(), [part for part in options.only.split(",") if part])
    import_slow()
    campaign = check_faults.Campaign(root)
    campaign.make()
    figures: Counter[str] = Counter()
    problems: list[str] = []
    for name, path in old.items():
        ended = forked(lambda name=name, path=path: upgraded(name, path, root))
        wrong = ended.value if ended.value is not None else [ended.trace]
        problems += [f"{name}: {problem}" for problem in wrong]
        figures["registries"] += 1
        print(f"{name}: {'upgraded' if not wrong else wrong[:3]}", file=sys.stderr, flush=True)
        if wrong:
            continue
        operation = Operation(
            f"upgrade of {name}",
            ("db", "upgrade", "--registry", "{work}/old.db"),
            target="old.db",
            prepare=lambda work, path=path: shutil.copy(path, work / "old.db"),
        )
        done = check_faults.run(campaign, operation, _MODES, options.every, 0)
        figures.update({mode: done[mode] for mode in _MODES})
        for number in range(options.rounds):
            copy = root / "together.db"
            for left in root.glob("together.db*"):
                left.unlink()
            shutil.copy(path, copy)
            wrong = together(copy, random.Random(f"{name} {number}"))
            checked = forked(lambda copy=copy: faults(copy))
            problems += [f"{name}, opened by several: {problem}" for problem in [*wrong, *(checked.value or [])]]
            figures["together"] += 1
    problems += campaign.problems
    for problem in problems:
        print(f"PROBLEM {problem}", file=sys.stderr)
    figures["problems"] = len(problems)
    figures.update({name: campaign.counts[name] for name in ("cases", "unchanged", "done", "partly")})
    print(json.dumps(figures) if options.json else ", ".join(f"{count} {name}" for name, count in figures.items()))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
