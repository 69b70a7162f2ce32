"""Every extension point takes something from outside the package, as docs/extending.md shows, and gives it up again."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from catalog.registry_fixtures import new_sqlite

from caa_registry.blobs.location import PLACES
from caa_registry.errors import InputError, UsageError
from caa_registry.extensions import Extensions, resolve
from caa_registry.extraction.methods import METHODS, check_method
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS, Format
from caa_registry.formats.reading import format_of
from caa_registry.formats.vector_file import VectorFile
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.pairs.lint.rules import RULES, Rule
from caa_registry.pairs.sources.formats import FORMATS as ROW_FORMATS
from caa_registry.pairs.sources.formats import RowFormat
from caa_registry.pairs.sources.load import SCHEMES, Scheme
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.operators.operator import OPERATORS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`(extra/\w+\.py)`:\n\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Folder of the extension point, and what it offers: the references stay within the folder.
REFERENCES = {
    "caa_registry.steering.operators": lambda: [*OPERATORS.values()],
    "caa_registry.extraction.estimators": lambda: [*METHODS.values()],
    "caa_registry.blobs": lambda: [reference for reference in PLACES.values() if isinstance(reference, str)],
    "caa_registry.pairs.lint": lambda: [rule.check for rule in RULES.values() if rule.check],
    "caa_registry.pairs.sources": lambda: [
        *(rows.reader for rows in ROW_FORMATS.values() if rows),
        *(scheme.reader for scheme in SCHEMES.values()),
    ],
}
TABLES: list[Extensions] = [OPERATORS, METHODS, FORMATS, RULES, ROW_FORMATS, SCHEMES, PLACES]


def written(folder: Path) -> Path:
    """The files of ``extra/`` that the document shows, and the program of its other blocks."""
    blocks = BLOCK.findall(TEXT)
    for name, code in blocks:
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(code, encoding="utf-8")
    program = folder / "program.py"
    program.write_text("\n".join(code for name, code in blocks if not name), encoding="utf-8")
    return program


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose ``extra`` can be imported, while the test runs."""
    written(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "extra"]:
        del sys.modules[name]


@pytest.fixture
def undone() -> Iterator[ExitStack]:
    """Where a test registers; afterwards every table is as it was."""
    before = [dict(table) for table in TABLES]
    with ExitStack() as registrations:
        yield registrations
    assert [dict(table) for table in TABLES] == before


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_registry(new_sqlite(tmp_path), actor="ada", create=False) as opened:
        yield opened


@pytest.fixture
def sentiment(registry: Registry) -> DatasetVersion:
    return registry.datasets.import_("seed:demo-sentiment", name="team/sentiment")


def test_the_program_of_the_document_runs(tmp_path: Path) -> None:
    program = written(tmp_path)
    assert len([*tmp_path.glob("extra/*.py")]) == 7
    done = subprocess.run([sys.executable, program.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_operator_from_outside(extra: Path, undone: ExitStack, demo: Model) -> None:
    vector = np.linspace(-1, 1, demo.d_model, dtype=np.float32)
    streams: list[np.ndarray] = []

    def look(layer: int, hidden: mx.array, where: Positions) -> mx.array:
        if layer == 1:
            streams.append(np.array(hidden.astype(mx.float32))[0])
        return hidden

    def run() -> np.ndarray:
        with demo.stream.tapped(look), demo.rows([[5, 60, 70, 80, 90]], [2]) as (tokens, cache):
            mx.eval(demo.network(tokens, cache=cache))
        return streams.pop()

    plain = run()
    with undone.enter_context(OPERATORS.register("remove", "extra.remove:remove")):
        with steering(demo, [Addition(1, vector)], "generated", operator="remove"):
            removed = run()
        with steering(demo, [Addition(1, vector)], "generated"):
            np.testing.assert_allclose(run()[3:], plain[3:] + vector, atol=1e-4)
    np.testing.assert_array_equal(removed[:3], plain[:3])
    assert (np.abs(plain[3:] @ vector) > 1e-2).all()
    np.testing.assert_allclose(removed[3:] @ vector, 0, atol=1e-4)
    with pytest.raises(UsageError, match="there is no operator 'remove'"), steering(demo, [], operator="remove"):
        pass


def test_a_format_from_outside(extra: Path, undone: ExitStack, registry: Registry, sentiment: DatasetVersion) -> None:
    format = Format("team-json", "our team", (".json",), "extra.json_vectors", writes=True)
    undone.enter_context(FORMATS.register("team-json", format))
    version = registry.vectors.compute("team/v", dataset=sentiment, model="demo")
    vectors = registry.vectors.load(version)
    data = format.write(vectors, Card(reference="team/v"))
    file = VectorFile("v", data)
    assert format_of(file) is format
    assert format.read(file).vectors.tensor_digest == version.tensor_digest
    with pytest.raises(InputError):
        format.read(VectorFile("v", data.replace(b"[", b"[null,")))


def test_a_rule_from_outside(extra: Path, undone: ExitStack, registry: Registry, tmp_path: Path) -> None:
    rows = ["prompt,positive,negative", "Is it good?,IT IS.,It is not.", "Is it bad?,It is.,No it is not at all."]
    (tmp_path / "loud.csv").write_text("\n".join(rows), encoding="utf-8")
    loud = registry.datasets.import_(str(tmp_path / "loud.csv"), name="team/loud", licence="MIT")
    before = registry.datasets.lint(loud)
    meaning = "only one of the sides is written in capitals"
    rule = Rule("shouting", "warning", "row", meaning, "Write both sides alike.", "extra.shouting:shouting")
    with undone.enter_context(RULES.register("shouting", rule)):
        report = registry.datasets.lint(loud)
        (finding,) = report.findings
        assert (finding.rule, finding.severity, finding.row) == ("shouting", "warning", 1)
        assert report.summary["score"] == 50 and before.summary["score"] == 100
    assert registry.datasets.lint(loud).findings == before.findings == ()
    # The stored report can still be read; what its rule was, cannot be told.
    with pytest.raises(UsageError, match="there is no rule 'shouting'"):
        _ = finding.severity


def test_an_estimator_from_outside(
    extra: Path, undone: ExitStack, registry: Registry, sentiment: DatasetVersion
) -> None:
    def compute(method: str) -> np.ndarray:
        version = registry.vectors.compute(f"team/{method}", dataset=sentiment, model="demo", method=method)
        assert version.recipe.method == registry.vectors.get(f"team/{method}").recipe.method == method
        assert all(layer.quality is not None for layer in version.layers)
        return np.stack([layer.values for layer in registry.vectors.load(version).layers])

    with undone.enter_context(METHODS.register("mean-direction", "extra.mean_direction:mean_direction")):
        ours, plain = compute("mean-direction"), compute("mean-difference")
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), np.linalg.norm(plain, axis=1), rtol=1e-5)
    assert 1e-3 < np.abs(ours - plain).max() < np.abs(plain).max()
    # What was computed stays readable.
    assert registry.vectors.get("team/mean-direction").recipe.method == "mean-direction"
    with pytest.raises(UsageError, match="there is no method 'mean-direction'"):
        registry.vectors.compute("team/again", dataset=sentiment, model="demo", method="mean-direction")


def test_sources_from_outside(
    extra: Path, undone: ExitStack, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shared").mkdir()
    Path("shared/pairs.rec").write_text("question: Is it?\ngood: Yes.\nbad: No.\n", encoding="utf-8")
    sound = "prompt: Is it?\npositive: Yes.\nnegative: No.\n"
    Path("broken.rec").write_text(f"{sound}\nprompt: Is it?\nYes.\n", encoding="utf-8")
    columns = {"prompt": "question", "positive": "good", "negative": "bad"}
    with pytest.raises(UsageError, match="tells its format"):
        registry.datasets.import_("shared/pairs.rec", name="team/t", columns=columns)
    undone.enter_context(ROW_FORMATS.register("records", RowFormat((".rec",), "extra.record_rows:record_rows")))
    version = registry.datasets.import_("shared/pairs.rec", name="team/t", columns=columns, split="test")
    (item,) = registry.datasets.pairs(version)
    assert (item.pair.prompt, item.pair.positive, item.split) == ("Is it?", "Yes.", "test")
    assert registry.datasets.replay(version)[0].same
    with pytest.raises(InputError, match=r"broken\.rec, row 2: 'Yes\.' has no colon"):
        registry.datasets.import_("broken.rec", name="team/b", format="records")
    undone.enter_context(SCHEMES.register("team", Scheme("extra.team:load_team")))
    again = registry.datasets.import_("team:pairs.rec", name="team/t", columns=columns, split="test")
    assert again.existing and again.digest == version.digest
    with pytest.raises(UsageError, match="takes no limit"):
        registry.datasets.import_("team:pairs.rec", name="team/t", limit=1)


@pytest.mark.parametrize("room", REFERENCES)
def test_what_the_tables_name_is_there(room: str) -> None:
    references = REFERENCES[room]()
    assert references
    for reference in references:
        assert reference.startswith(f"{room}.") and callable(resolve(reference))


def test_a_registration_lasts_as_long_as_its_object() -> None:
    table = Extensions("colour", {"red": 1})
    registration = table.register("blue", 2)
    assert dict(table) == {"red": 1, "blue": 2} and table.named("blue") == 2
    registration.close()
    registration.close()
    assert dict(table) == {"red": 1}
    with pytest.raises(ZeroDivisionError), table.register("green", 3):
        assert list(table) == ["red", "green"]
        raise ZeroDivisionError
    assert dict(table) == {"red": 1}


def test_a_name_that_is_taken_or_unusable_is_refused() -> None:
    table = Extensions("colour", {"red": 1})
    for value in (1, 2):
        with pytest.raises(UsageError, match="the colour 'red' exists already"):
            table.register("red", value)
    for name in ("", "Red", "dark red", "-red", "a:b", "rot\n"):
        with pytest.raises(UsageError, match="not a usable name"):
            table.register(name, 3)
    assert dict(table) == {"red": 1}
    with pytest.raises(UsageError, match="there is no colour 'blue'") as refused:
        table.named("blue")
    assert refused.value.hint == "Choose one of red."


def test_a_table_can_be_read_while_another_thread_registers() -> None:
    table = Extensions("number", {"n0": 0})
    names = iter(table)
    writer = threading.Thread(target=lambda: table.register("n1", 1))
    writer.start()
    writer.join()
    assert list(names) == ["n0"] and list(table) == ["n0", "n1"]


@pytest.mark.parametrize("reference", ["", "math", "math:nothing", "no_such_module:thing", ":thing"])
def test_a_reference_that_leads_nowhere_says_so(reference: str) -> None:
    with pytest.raises(UsageError, match="cannot be imported"):
        resolve(reference)
    with METHODS.register("nowhere", reference):
        assert check_method("nowhere") == "nowhere"
    assert "nowhere" not in METHODS


def test_a_place_of_blobs_from_outside(extra: Path, undone: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither"):
        open_registry(str(tmp_path / "apart.db"), blobs="memory://apart")
    undone.enter_context(PLACES.register("memory", "extra.memory:MemoryObjects"))
    with open_registry(str(tmp_path / "apart.db"), blobs="memory://apart") as apart:
        digest = apart.blobs.put(b"abc")
        assert apart.blobs.get(digest) == b"abc" and apart.blobs.shown == "memory://apart"
    with open_registry(str(tmp_path / "apart.db"), create=False) as apart:
        assert apart.blobs.read_range(digest, 1, 1) == b"b" and list(apart.blobs.ls()) == [digest]
        assert apart.fsck().damage == ()
    with pytest.raises(UsageError, match="another registry"):
        open_registry(str(tmp_path / "other.db"), blobs="memory://apart")
