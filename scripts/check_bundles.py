"""Change bundles at random and look whether any is opened as something else than it was, or not in plain words.

    python scripts/check_bundles.py               # 5,000 changed bundles
    python scripts/check_bundles.py --count 200
    python scripts/check_bundles.py --json        # figures as one flat JSON object on stdout

A bundle of some of everything is changed: bytes flipped, cut, doubled and swapped; entries of the zip renamed, doubled,
left out, put elsewhere, compressed, and claimed to be of another size; values of its manifest and documents replaced,
with every digest made to fit again. Each is opened into an empty registry. One that is refused has changed nothing and
said so in one of caa's own errors. One that is opened holds what the bundle held; or, where a value was replaced that a
sender may choose, such as a message, what it says now, with every digest of the registry in order. Nothing is written
anywhere but in the registry.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from damage import make
from sqlalchemy import select

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.digests import digest_bytes
from caa_registry.errors import CaaError
from caa_registry.registry.records.lock_text import canonical

Entries = list[tuple[str, bytes]]
_VERSIONS = ("vector:team/praise:best", "vector:team/mixture:v1", "dataset:team/dishes:v2", "dataset:team/questions:v1")
_VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**31, 10**30, 0.5, 1e308, "", "x", "../../x", "/etc/passwd", "\x00", "\ud800", "é" * 50,
    "sha256:" + "0" * 64, [], {}, [1], {"a": 1}, "2026-01-01T00:00:00+00:00", [[]] * 3,
)  # fmt: skip


def flip(whole: bytes, chosen: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(chosen.choice((1, 1, 1, 2, 8))):
        data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    return bytes(data)


def cut(whole: bytes, chosen: random.Random) -> bytes:
    first = chosen.randrange(len(whole))
    return whole[:first] if chosen.random() < 0.5 else whole[:first] + whole[first + chosen.randrange(1, 4096) :]


def double(whole: bytes, chosen: random.Random) -> bytes:
    first = chosen.randrange(len(whole))
    return whole[:first] + whole[first : first + chosen.randrange(1, 4096)] * 2 + whole[first:]


def directory(whole: bytes, chosen: random.Random) -> bytes:
    """Change the fields of an entry in the directory of the zip: sizes, offsets, kinds, names."""
    data = bytearray(whole)
    places = [at for at in range(len(data)) if data.startswith(b"PK\x01\x02", at)]
    at = chosen.choice(places) + chosen.choice((8, 10, 16, 20, 24, 28, 30, 32, 38, 42, 46, 50))
    data[at : at + 4] = chosen.choice(
        (b"\xff" * 4, b"\x00" * 4, b"\x08\x00\x08\x00", b"../.", bytes(chosen.randbytes(4)))
    )
    return bytes(data[: len(whole)])


def rezipped(entries: Entries, chosen: random.Random) -> bytes:
    """Another zip of nearly the same entries."""
    entries, place = list(entries), chosen.randrange(len(entries))
    name, data = entries[place]
    kind = chosen.randrange(7)
    if kind == 0:
        entries[place] = (
            chosen.choice(("../x", "/tmp/x", "members/../../x", "members\\x", name.upper(), f"{name}/")),
            data,
        )
    elif kind == 1:
        entries.append(entries[place])
    elif kind == 2:
        del entries[place]
    elif kind == 3:
        entries[place] = name, flip(data or b"\x00", chosen)
    elif kind == 4:
        chosen.shuffle(entries)
    elif kind == 5:
        other = chosen.randrange(len(entries))
        entries[place], entries[other] = (name, entries[other][1]), (entries[other][0], data)
    return zipped(entries, zipfile.ZIP_DEFLATED if kind == 6 else zipfile.ZIP_STORED)


def zipped(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, compression)
    return file.getvalue()


def resealed(entries: Entries, chosen: random.Random) -> bytes:
    """Replace a value of the manifest or a document, and make every digest in the bundle fit again."""
    manifest = json.loads(entries[0][1])
    members = [manifest["sayings"], *(member for _, member in manifest["documents"])]
    member = chosen.choice([None, *members])
    if member is None:
        replace(manifest, chosen)
        return zipped([("manifest.json", canonical(manifest).encode("ascii")), *entries[1:]])
    held = dict(entries)[f"members/{member[7:]}"]
    document = json.loads(held)
    for _ in range(chosen.choice((1, 1, 2))):
        replace(document, chosen)
    data = canonical(document).encode("ascii")
    digest = digest_bytes(data)
    manifest = json.loads(entries[0][1].decode().replace(member, digest))
    for each in manifest["members"]:
        each[1] = len(data) if each[0] == digest else each[1]
    renamed = [
        (f"members/{digest[7:]}", data) if name == f"members/{member[7:]}" else (name, kept) for name, kept in entries
    ]
    return zipped([("manifest.json", canonical(manifest).encode("ascii")), *renamed[1:]])


def replace(values: Any, chosen: random.Random) -> None:
    """Replace, remove or add one value somewhere in ``values``."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = chosen.choice(keys)
        inner = values[key]
        if isinstance(inner, dict | list) and inner and chosen.random() < 0.85:
            values = inner
            continue
        kind = chosen.random()
        if kind < 0.15:
            del values[key]
        elif kind < 0.25 and isinstance(values, list):
            values.append(inner)
        elif kind < 0.4 and isinstance(inner, str) and inner:
            values[key] = inner[:-1] + chr(ord(inner[-1]) ^ 1)
        elif kind < 0.5 and type(inner) in (int, float):
            values[key] = inner + chosen.choice((1, -1, 0.5))
        else:
            values[key] = chosen.choice(_VALUES)
        return


_CHANGES: tuple[tuple[str, Callable[[bytes, Entries, random.Random], bytes], int], ...] = (
    ("flipped", lambda whole, _, chosen: flip(whole, chosen), 3),
    ("cut", lambda whole, _, chosen: cut(whole, chosen), 1),
    ("doubled", lambda whole, _, chosen: double(whole, chosen), 1),
    ("directory", lambda whole, _, chosen: directory(whole, chosen), 2),
    ("rezipped", lambda _, entries, chosen: rezipped(entries, chosen), 2),
    ("resealed", lambda _, entries, chosen: resealed(entries, chosen), 4),
)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder: sizes and times."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def digests(registry: caa.Registry) -> set[str]:
    """What a registry holds: versions, scores and answers by digest."""
    with registry.database.read() as session:
        found: set[str | None] = set()
        for column in (
            t.DatasetVersion.items_digest,
            t.VectorVersion.digest,
            t.Evaluation.scores_digest,
            t.Evaluation.responses_digest,
            t.Plan.digest,
            t.Judgement.ratings_digest,
        ):
            found.update(session.scalars(select(column)))
    return {digest for digest in found if digest is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="how many changed bundles (default 5000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    figures: Counter[str] = Counter()
    problems: list[str] = []
    begun = time.monotonic()
    warnings.simplefilter("ignore")  # of a zip that is to have a name twice
    with tempfile.TemporaryDirectory(prefix="caa-bundles-") as name:
        root = Path(name)
        os.environ["CAA_HOME"], os.environ["TMPDIR"] = str(root / "home"), str(root / "temporary")
        (root / "temporary").mkdir()
        tempfile.tempdir = str(root / "temporary")
        make(root / "source.db")
        with caa.open(str(root / "source.db"), actor="ada") as source:
            source.bundle(*_VERSIONS, path=root / "whole.caa")
        whole = (root / "whole.caa").read_bytes()
        with zipfile.ZipFile(root / "whole.caa") as archive:
            entries = [(each, archive.read(each)) for each in archive.namelist()]
        with caa.open(str(root / "expected.db")) as registry:
            registry.open_bundle(root / "whole.caa")
            expected = digests(registry)
        caa.open(str(root / "empty.db")).close()
        kinds = [change for change in _CHANGES for _ in range(change[2])]
        for number in range(options.first, options.first + options.count):
            chosen = random.Random(number)
            kind, change, _ = kinds[number % len(kinds)]
            data = change(whole, entries, chosen)
            folder = root / "work"
            folder.mkdir()
            shutil.copy(root / "empty.db", folder / "registry.db")
            (folder / "changed.caa").write_bytes(data)
            before = tree(root)
            outcome, problem = opened(folder, kind, expected)
            if problem:
                problems.append(f"{number} ({kind}): {problem}")
            after = tree(root)
            inside = {path for path in after.keys() | before.keys() if path.startswith("work/registry.db")}
            changed = {path for path in after.keys() | before.keys() if after.get(path) != before.get(path)} - inside
            if changed:
                problems.append(f"{number} ({kind}): {sorted(changed)[0]} was written")
            figures[f"{kind} {outcome}"] += 1
            figures[outcome] += 1
            shutil.rmtree(folder)
            if number % 200 == 199:
                print(
                    f"{number + 1}: {figures['refused']} refused, {figures['opened']} opened",
                    file=sys.stderr,
                    flush=True,
                )
    result = {**figures, "cases": options.count, "problems": len(problems), "seconds": round(time.monotonic() - begun)}
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(
        json.dumps(result) if options.json else ", ".join(f"{value} {name}" for name, value in sorted(result.items()))
    )
    return 1 if problems else 0


def opened(folder: Path, kind: str, expected: set[str]) -> tuple[str, str]:
    """How opening a changed bundle ends, and what is wrong with that."""
    with caa.open(str(folder / "registry.db"), actor="bob") as registry:
        events = len(registry.audit.ls())
        try:
            registry.open_bundle(folder / "changed.caa")
        except CaaError as error:
            if len(registry.audit.ls()) != events or len(registry.datasets.ls()) or len(registry.vectors.ls()):
                return "refused", f"it was refused and left something: {error.message}"
            return "refused", ""
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return "failed", f"{type(error).__name__}: {error}"[:400]
        faults = registry.fsck().faults
        if faults:
            return "opened", f"fsck: {faults[0].what}: {faults[0].problem}"
        if kind == "resealed":
            return "opened", ""
        with zipfile.ZipFile(folder / "changed.caa") as archive:
            for each in archive.namelist():
                data = archive.read(each)
                if each.startswith("members/") and digest_bytes(data) != f"sha256:{each.removeprefix('members/')}":
                    return "opened", f"{each} is not what its name says"
        if digests(registry) != expected:
            return "opened", "it holds something else"
        return "opened", ""


if __name__ == "__main__":
    sys.exit(main())
