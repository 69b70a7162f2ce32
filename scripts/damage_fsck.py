"""Damage of every kind of byte and of every column, and which check finds it.

What a file says is read by SQLite alone, before and after: where that differs, ``fsck`` must find something, or opening
must fail. A backup must not be restored then.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from damage import other_value
from damage_places import Place, log_places, places
from sqlalchemy import LargeBinary
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.errors import CaaError, IntegrityError

_DIALECT = SQLiteDialect_pysqlite()
_SEALED = [
    str(mapper.local_table.description) for mapper in t.Base.registry.mappers if issubclass(mapper.class_, Sealed)
]
# What fsck cannot know, and why.
UNKNOWN: dict[tuple[str, str], str] = {
    **{("model", column): "a folder moves" for column in ("path", "adapter_path", "tensors")},
    **{(table, "unchecked_before"): "nothing else says since when an older row is checked" for table in _SEALED},
    **{
        (table, "deleted_at"): "that it is deleted is known, and not when"
        for table in ("dataset_version", "vector_version", "evaluation")
    },
    ("blob", "*"): "bytes of what was deleted, or that nothing refers to, may go",
    ("review", "*"): "no event tells of a review",
    ("blob", "stored_at"): "nothing else says when bytes were stored last",
    ("tag", "id"): "nothing refers to a tag by its number",
    ("meta", "value"): "nothing else says which release made the schema",
    ("sqlite_sequence", "seq"): "how many aliases there were, since aliases go",
}

# SQLite's index of the words in search_entry, in tables of its own: it says nothing that these do not.
_DERIVED = "search_index"

# What else a repeated row needs, so that SQLite takes it.
_KEYS = {
    **dict.fromkeys(("dataset_member", "dataset_question", "score", "response", "rating"), "position"),
    "vector_layer": "layer",
    "blob": "digest",
    "pair": "digest",
    "meta": "key",
    "plan": "name",
    "alias": "name",
    "dataset": "name",
    "vector": "name",
    "model": "name",
}

Dump = dict[str, dict[object, tuple[object, ...]]]


@dataclass(frozen=True)
class Found:
    """What came of one damage. ``kind``: of what; ``outcome``: ``harmless``, ``found``, ``dropped``, ``unknown``,
    ``silent`` or ``untyped``; ``by``: the check that found it."""

    kind: str
    outcome: str
    by: str = ""
    detail: str = ""


def prepare(whole: Path, path: Path) -> None:
    """A registry of everything at ``path``, with free pages and a blob that takes several."""
    shutil.copy(whole, path)
    with caa.open(str(path)) as registry:
        registry.delete("vector:team/praise:v2")
        registry.delete("evaluation:9")
        registry.blobs.put(random.Random(1).randbytes(400_000))
        registry.delete("dataset:team/dishes:v2")
        registry.gc(grace=timedelta(0))
        registry.datasets.import_("seed:demo-sentiment", name="team/more")
        registry.delete("evaluation:8")


def dump(path: Path) -> Dump:
    """Every row of every table, as SQLite reads it; also what is kept for it. Raises ``sqlite3.Error``."""
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
        connection.text_factory = bytes
        connection.execute("PRAGMA cell_size_check=ON")
        query = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '{_DERIVED}%'"
        tables = [row[0].decode() for row in connection.execute(query)]
        return {
            name: {row[0]: row[1:] for row in connection.execute(f'SELECT rowid, * FROM "{name}" NOT INDEXED')}
            for name in tables
        }


def columns(path: Path) -> dict[str, list[str]]:
    """The names of the columns of every table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '{_DERIVED}%'"
        tables = [row[0] for row in connection.execute(query)]
        return {name: [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')] for name in tables}


class Campaign:
    """Damages copies of a sound registry ``whole`` that nobody has open."""

    def __init__(self, whole: Path, folder: Path) -> None:
        self.whole, self.copy = whole, folder / "damaged.db"
        self.before, self.columns = dump(whole), columns(whole)
        self._places = places(whole)
        with caa.open(str(whole), read_only=True) as registry:
            assert registry.fsck().damage == ()

    def bytes(self, count: int, seed: int = 0, *, backup: bool = False) -> Iterator[Found]:
        """So many damages of bytes, in turn of every kind that there is."""
        kinds = sorted({place.kind for place in self._places})
        for number in range(seed, seed + count):
            chance = random.Random(number)
            kind = kinds[number % len(kinds)]
            place = chance.choice([each for each in self._places if each.kind == kind])
            data = bytearray(self.whole.read_bytes())
            how = _changed(data, place, chance)
            self._write(bytes(data))
            what = f"{kind}, {how} at {place.start}"
            yield self._restored(kind, what) if backup else self._checked(kind, what)

    def ends(self, count: int, seed: int = 0, *, backup: bool = False) -> Iterator[Found]:
        """So many truncations, and pages that are zeroed, exchanged or doubled."""
        whole = self.whole.read_bytes()
        size = int.from_bytes(whole[16:18], "big")
        for number in range(seed, seed + count):
            chance = random.Random(-number)
            data = bytearray(whole)
            how = ("cut at a page", "cut", "page zeroed", "pages exchanged", "page doubled")[number % 5]
            one, other = (slice(at * size, (at + 1) * size) for at in chance.sample(range(len(data) // size), 2))
            if how == "cut at a page":
                del data[one.start :]
            elif how == "cut":
                del data[chance.randrange(len(data)) :]
            elif how == "page zeroed":
                data[one] = bytes(size)
            elif how == "pages exchanged":
                data[one], data[other] = data[other], data[one]
            else:
                data[other] = data[one]
            self._write(bytes(data))
            yield self._restored(how, f"{how} {one.start}") if backup else self._checked(how, f"{how} {one.start}")

    def cells(self, each: int, seed: int = 0) -> Iterator[Found]:
        """Every column of every table changed ``each`` times, and rows removed and repeated."""
        for table, names in self.columns.items():
            for number in range(seed, seed + each):
                for column in names:
                    chance = random.Random(f"{table} {column} {number}")
                    self._write(self.whole.read_bytes())
                    if self._edit(table, column, number, chance):
                        yield self._checked(f"{table}.{column}", f"{table}.{column} {number}")
                for how in ("removed", "repeated"):
                    self._write(self.whole.read_bytes())
                    if self._row(table, how, random.Random(f"{table} {number}")):
                        yield self._checked(f"{table}: a row {how}", f"{table}: row {how} {number}")

    def _write(self, data: bytes) -> None:
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{self.copy}{suffix}").unlink(missing_ok=True)
        self.copy.write_bytes(data)

    def _edit(self, table: str, column: str, number: int, chance: random.Random) -> bool:
        with _Unguarded(self.copy) as connection:
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()
            if not rows:
                return False
            row, value = chance.choice(rows)
            kind = ("cell", "swap")[number % 4 == 3]
            new = other_value(value, [other for _, other in rows], kind, chance)
            try:
                connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, row))
            except (sqlite3.IntegrityError, OverflowError):
                return False  # SQLite does not take it
        return True

    def _row(self, table: str, how: str, chance: random.Random) -> bool:
        with _Unguarded(self.copy) as connection:
            rows = [row[0] for row in connection.execute(f'SELECT rowid FROM "{table}"')]
            if not rows:
                return False
            row = chance.choice(rows)
            if how == "removed":
                connection.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (row,))
                return True
            kept = [name for name in self.columns[table] if name != "id"]
            names = ", ".join(f'"{name}"' for name in kept)
            values = ", ".join(_another(name) if name == _KEYS.get(table) else f'"{name}"' for name in kept)
            try:
                connection.execute(
                    f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" WHERE rowid = ?', (row,)
                )
            except sqlite3.IntegrityError:
                return False
        return True

    def _checked(self, kind: str, what: str) -> Found:
        """What fsck says of the copy, beside what SQLite reads of it."""
        try:
            now: Dump | None = dump(self.copy)
        except (sqlite3.Error, UnicodeDecodeError):
            now = None
        try:
            with caa.open(str(self.copy), create=False) as registry:
                damage = registry.fsck().damage
        except CaaError as error:
            return Found(kind, "found", "opening", error.message)
        except Exception as error:  # noqa: BLE001 - whatever has no type is what is looked for
            return Found(kind, "untyped", "", f"{what}: {type(error).__name__}: {error}")
        if damage:
            return Found(kind, "found", damage[0].check, damage[0].problem)
        return self._unfound(kind, what, now)

    def _restored(self, kind: str, what: str) -> Found:
        """What ``restore`` says of the copy."""
        target = self.copy.parent / "restored" / "registry.db"
        shutil.rmtree(target.parent, ignore_errors=True)
        try:
            caa.restore(self.copy, str(target)).close()
        except CaaError as error:
            if target.parent.exists() and list(target.parent.iterdir()):
                return Found(kind, "untyped", "", f"{what}: it left {list(target.parent.iterdir())}")
            return Found(kind, "found", "restoring", error.message)
        except Exception as error:  # noqa: BLE001 - whatever has no type is what is looked for
            return Found(kind, "untyped", "", f"{what}: {type(error).__name__}: {error}")
        return self._unfound(kind, what, dump(target))

    def _unfound(self, kind: str, what: str, now: Dump | None) -> Found:
        if now is None:
            return Found(kind, "silent", "", f"{what}: SQLite cannot read it")
        changed = self._differences(now)
        if not changed:
            return Found(kind, "harmless")
        if changed <= UNKNOWN.keys():
            return Found(kind, "unknown", "", ", ".join(sorted({UNKNOWN[each] for each in changed})))
        return Found(kind, "silent", "", f"{what}: {sorted(changed)[:4]}")

    def _differences(self, now: Dump) -> set[tuple[str, str]]:
        """The cells that differ as (table, column); a row more or less as the column ``*``."""
        found = {(table, "*") for table in now.keys() ^ self.before.keys()}
        for table in now.keys() & self.before.keys():
            a, b = self.before[table], now[table]
            # A row of a table without a number of its own has no place that says anything.
            same = Counter(map(repr, a.values())) == Counter(map(repr, b.values()))
            if same and "id" not in self.columns[table]:
                continue
            if table == "tag" and a != b and _unnumbered(a) == _unnumbered(b):
                found.add((table, "id"))
                continue
            if a.keys() != b.keys():
                found.add((table, "*"))
            for row in a.keys() & b.keys():
                cells = zip(self.columns[table], a[row], b[row], strict=True)
                found |= {
                    (table, column) for column, x, y in cells if repr(x) != repr(y) and not _same(table, column, x, y)
                }
        return found


def _unnumbered(rows: Mapping[object, Sequence[object]]) -> Counter[str]:
    """What rows say beside their numbers, which stand first."""
    return Counter(repr(row[1:]) for row in rows.values())


def _same(table: str, column: str, one: object, other: object) -> bool:
    """Whether two cells say the same when they are read: a date in another form, JSON with other spaces."""
    if table not in t.Base.metadata.tables:
        return False
    kind = t.Base.metadata.tables[table].columns[column].type.dialect_impl(_DIALECT)
    read = kind.result_processor(_DIALECT, None)
    try:
        texts = [
            cell.decode() if isinstance(cell, bytes) and not isinstance(kind, LargeBinary) else cell
            for cell in (one, other)
        ]
        return read is not None and read(texts[0]) == read(texts[1])
    except (CaaError, UnicodeDecodeError):
        return False


class _Unguarded:
    """A connection past triggers and constraints; the triggers are put back, or the file would not be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA ignore_check_constraints=ON")
        found = self._connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        self._triggers: Sequence[tuple[str, str]] = found
        for name, _ in found:
            self._connection.execute(f"DROP TRIGGER {name}")
        return self._connection

    def __exit__(self, *error: object) -> None:
        for _, sql in self._triggers:
            self._connection.execute(sql)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()


def _another(column: str) -> str:
    return f'"{column}" + 1000' if column in ("position", "layer") else f"'x' || \"{column}\""


def _changed(data: bytearray, place: Place, chance: random.Random) -> str:
    """Change bytes of a place in one of a few ways; which."""
    at = chance.randrange(place.start, place.end)
    how = chance.choice(["a bit", "a byte", "some bytes", "zeroed", "all zeroed"])
    if how == "a bit":
        data[at] ^= 1 << chance.randrange(8)
    elif how == "a byte":
        data[at] = chance.randrange(256)
    elif how == "some bytes":
        for each in range(at, min(at + chance.choice([2, 8, 64]), place.end)):
            data[each] ^= chance.randrange(1, 256)
    else:
        first, last = (at, min(at + 16, place.end)) if how == "zeroed" else (place.start, place.end)
        data[first:last] = bytes(last - first)
    return how


class LogCampaign:
    """Damages the write-ahead log of a registry whose writer was killed. ``heads``: of the log of events after each of
    its transactions."""

    def __init__(self, whole: Path, folder: Path) -> None:
        self.path, self.copy = folder / "logged.db", folder / "copy" / "logged.db"
        self.copy.parent.mkdir()
        shutil.copy(whole, self.path)
        self.states: list[Dump] = []
        self.heads: list[str] = []
        with caa.open(str(self.path)) as registry:
            for number in range(5):
                registry.aliases.set("team/praise:v1", f"a{number}")
                self._keep(registry.audit.verify().head)
            registry.datasets.import_("seed:demo-refusal", name="team/logged")
            self._keep(registry.audit.verify().head)
            # What a process that is killed leaves.
            self._files = {name: Path(f"{self.path}{name}").read_bytes() for name in ("", "-wal")}
        self._log = folder / "sound-wal"
        self._log.write_bytes(self._files["-wal"])
        self._places = log_places(self._log)

    def _keep(self, head: str) -> None:
        self.heads.append(head)
        self.states.append(dump(self.path))

    def run(self, count: int, seed: int = 0) -> Iterator[Found]:
        """So many damages of its bytes, and truncations."""
        kinds = sorted({place.kind for place in self._places})
        for number in range(seed, seed + count):
            chance = random.Random(number)
            kind = [*kinds, "log: cut"][number % (len(kinds) + 1)]
            data = bytearray(self._files["-wal"])
            if kind == "log: cut":
                del data[chance.randrange(len(data)) :]
                how = f"to {len(data)}"
            else:
                place = chance.choice([each for each in self._places if each.kind == kind])
                how = f"{_changed(data, place, chance)} at {place.start}"
            Path(f"{self.copy}-shm").unlink(missing_ok=True)
            self.copy.write_bytes(self._files[""])
            Path(f"{self.copy}-wal").write_bytes(data)
            yield self._checked(kind, f"{kind} {how}")

    def _checked(self, kind: str, what: str) -> Found:
        try:
            with caa.open(str(self.copy), create=False) as registry:
                damage = registry.fsck().damage
                if damage:
                    return Found(kind, "found", damage[0].check, damage[0].problem)
                try:
                    registry.audit.verify(head=self.heads[-1])
                    lacks = False
                except IntegrityError:
                    lacks = True
                head = registry.audit.verify().head
        except CaaError as error:
            return Found(kind, "found", "opening", error.message)
        except Exception as error:  # noqa: BLE001 - whatever has no type is what is looked for
            return Found(kind, "untyped", "", f"{what}: {type(error).__name__}: {error}")
        now = dump(self.copy)
        if not lacks:
            whole = now == self.states[-1]
            return Found(kind, "harmless" if whole else "silent", "", "" if whole else what)
        # Everything up to one of the transactions, and nothing of those behind it.
        whole = head not in self.heads or now == self.states[self.heads.index(head)]
        return Found(kind, "dropped" if whole else "silent", "log verify --head", "" if whole else what)
