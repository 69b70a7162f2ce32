"""A computation that fails, is interrupted or killed at any moment leaves no half version; the next one succeeds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from catalog.registry_fixtures import new_postgres, new_sqlite
from registry.registry_support import check_consistent, counts, dump, failures, jsonl, letters
from support.tried import Tried

from caa_registry.evaluation.unfinished import Unfinished
from caa_registry.models.model import Model
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion, PropensitySettings
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

DRIVER = Path(__file__).with_name("fault_driver.py")

# The driver forks, which a GPU's runtime and macOS's frameworks do not survive.
forks = pytest.mark.skipif(sys.platform != "linux", reason="the driver forks after loading MLX; Linux on a CPU only")


def driver(*arguments: object) -> Any:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(DRIVER), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        cwd=DRIVER.parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_computation_that_raises_leaves_nothing(
    registry: Registry, pairs: DatasetVersion, model: Model, call: int, error: type[BaseException]
) -> None:
    plainly = model.next_tokens("Is it good?")
    before = counts(registry)
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == call + 1 or done == total:
            raise error

    with pytest.raises(error):
        registry.vectors.compute("team/v", dataset=pairs, model=model, progress=stop)
    assert counts(registry) == before and len(failures(registry)) == 1
    assert model.next_tokens("Is it good?") == plainly
    assert registry.vectors.compute("team/v", dataset=pairs, model=model).reference == "team/v:v1"
    check_consistent(registry)


@pytest.mark.parametrize("place", ["record_run", "ensure_model", "next_number", "vector_record"])
def test_a_failure_while_storing_leaves_nothing_but_the_blob(
    registry: Registry, pairs: DatasetVersion, model: Model, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts(registry)

    def fail(*arguments: object, **named: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(f"caa_registry.registry.vectors.store.{place}", fail)
        with pytest.raises(OSError, match="no space left"):
            registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert counts(registry) == before
    again = registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert (again.reference, again.existing) == ("team/v:v1", False)
    check_consistent(registry)


def test_a_blob_that_cannot_be_stored_leaves_nothing(
    registry: Registry, pairs: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts(registry)

    def full(data: bytes) -> str:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(registry.blobs, "put", full)
        with pytest.raises(OSError, match="no space left"):
            registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert counts(registry) == before
    registry.vectors.compute("team/v", dataset=pairs, model=model)
    check_consistent(registry)


@pytest.mark.long
@forks
def test_a_killed_computation_leaves_no_version_and_the_next_one_succeeds(
    tmp_path: Path, tiny: TinyModels, tried: Tried
) -> None:
    template = Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))
    with open_registry(str(template)) as registry:
        registry.datasets.import_(jsonl(tmp_path / "p.jsonl", letters()), name="team/pairs")
        before = counts(registry)
    folder = tmp_path / "killed"
    folder.mkdir()
    command = ["vector", "compute", "team/v", "--dataset", "team/pairs", "--model", tiny.folder("llama")]
    told = driver("kill", template, folder, *command)
    assert {"progress 0 %", "progress 100 %", "blob stored"} <= set(told["points"])
    assert told["points"].count("before COMMIT") >= 2
    assert any(name.startswith("before INSERT INTO vector_version") for name in told["points"])
    assert set(told["codes"]) == {-9}
    model = tiny("llama")
    seen = 0
    for number, point in enumerate(told["points"], 1):
        with open_registry(str(folder / f"{number}.db"), create=False) as registry:
            found = counts(registry)
            assert found == before, point
            check_consistent(registry)
            version = registry.vectors.compute("team/v", dataset="team/pairs", model=model)
            assert (version.reference, version.existing) == ("team/v:v1", False)
            check_consistent(registry)
            seen += 1
    assert seen == len(told["points"]) >= 15
    tried(f"{seen} points at which it was killed")


@pytest.mark.long
@forks
def test_a_killed_evaluation_is_not_listed_and_goes_on_where_it_was(
    tmp_path: Path, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, tried: Tried
) -> None:
    template = Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))
    model = tiny("llama")
    with open_registry(str(template)) as registry:
        sources = {"generate": jsonl(tmp_path / "g.jsonl", letters()), "test": jsonl(tmp_path / "t.jsonl", letters(3))}
        registry.datasets.import_(sources, name="team/pairs")
        registry.vectors.compute("team/v", dataset="team/pairs", model=model)
        before = counts(registry)
    folder = tmp_path / "killed"
    folder.mkdir()
    beside = ["--draws", "19", "--few-shot", "1", "--layers", "0,1"]
    told = driver("kill", template, folder, "eval", "propensity", "team/v", *beside, "--model", tiny.folder("llama"))
    assert {"progress 0 %", "progress 100 %", "blob stored"} <= set(told["points"])
    assert any(name.startswith("before INSERT INTO score") for name in told["points"])
    assert set(told["codes"]) == {-9}
    added: list[dict[str, Any]] = []
    add = Unfinished.add

    def told_of(self: Unfinished, condition: str, part: dict[str, Any]) -> None:
        added.append(part)
        add(self, condition, part)

    monkeypatch.setattr(Unfinished, "add", told_of)
    # What dies after the commit that stores it has finished.
    points = told["points"]
    stored = points.index("before COMMIT", points.index("before INSERT INTO score"))
    for number, point in enumerate(points[: stored + 1], 1):
        monkeypatch.setenv("CAA_HOME", str(folder / f"home-{number}"))
        with open_registry(str(folder / f"{number}.db"), create=False) as registry:
            assert registry.evaluations.ls() == [] and counts(registry) == before, point
            left = list((folder / f"home-{number}" / "cache" / "unfinished").glob("*"))
            kept = [json.loads(line.partition(b" ")[2]) for path in left for line in path.read_bytes().splitlines()]
            added.clear()
            few = PropensitySettings(draws=19, few_shot=1)
            done = registry.evaluations.propensity("team/v", model=model, layers=[0, 1], settings=few)
            # Three questions, each unsteered and at two layers: as they are, with an example, by a null. None twice.
            parts = [line["kept"] for line in kept if "kept" in line] + added
            assert sum(len(part["questions"]) for part in parts if "questions" in part) == 27, point
            if "score" in point or "blob" in point:
                assert not [part for part in added if "questions" in part], point
            assert [found.id for found in registry.evaluations.ls()] == [done.id]
            assert not list((folder / f"home-{number}" / "cache" / "unfinished").glob("*"))
            check_consistent(registry)
    tried(f"{stored + 1} points at which it was killed")


@forks
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_four_processes_that_compute_the_same_make_one_version(tmp_path: Path, tiny: TinyModels, dialect: str) -> None:
    url = new_sqlite(tmp_path) if dialect == "sqlite" else new_postgres()
    with open_registry(url) as registry:
        registry.datasets.import_(jsonl(tmp_path / "p.jsonl", letters()), name="team/pairs")
    command = ["vector", "compute", "team/v", "--dataset", "team/pairs", "--model", tiny.folder("llama"), "--json"]
    answers = driver("together", 4, "--registry", url, *command)
    assert [code for code, _, _ in answers] == [0] * 4, answers
    made = [json.loads(out) for _, out, _ in answers]
    assert {document["reference"] for document in made} == {"team/v:v1"}
    assert len({document["digest"] for document in made}) == 1
    assert sorted(document["existing"] for document in made) == [False, True, True, True]
    with open_registry(url) as registry:
        assert counts(registry)["vector_version"] == 1
        check_consistent(registry)


def test_another_process_that_was_first_with_other_digits_wins(
    registry: Registry, pairs: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same recipe on another BLAS differs in the last digits, and is the same version all the same."""
    from caa_registry.registry.vectors.vectors import Vectors

    first = registry.vectors.compute("team/v", dataset=pairs, model=model)
    monkeypatch.setattr(Vectors, "_find", lambda self, name, origin: None)
    from caa_registry.extraction import compute as module
    from caa_registry.vectors import LayerVector, VectorSet

    original = module.compute

    def nudged(*arguments: Any, **options: Any) -> VectorSet:
        computed = original(*arguments, **options)
        return VectorSet.of(LayerVector(v.layer, v.values * 1.000001, v.residual_norm) for v in computed.layers)

    monkeypatch.setattr(module, "compute", nudged)
    second = registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert (second.reference, second.digest, second.existing) == (first.reference, first.digest, True)


def test_a_failed_first_import_keeps_the_registry_usable(tmp_path: Path) -> None:
    source = shutil.copy(new_sqlite(tmp_path).removeprefix("sqlite:///"), tmp_path / "not-pairs.jsonl")
    with open_registry(str(tmp_path / "registry.db")) as registry:
        with pytest.raises(Exception, match="not-pairs"):
            registry.datasets.import_(str(source), name="team/a")
        assert registry.datasets.ls() == []


@forks
@pytest.mark.parametrize(
    "command",
    [
        ("merge", "team/pairs", "team/other", "--name", "team/both", "--behavior", "b"),
        ("lint", "team/pairs"),
        ("recall", "team/pairs:v1", "--why", "wrong"),
    ],
)
def test_killed_curation_changes_nothing(tmp_path: Path, command: tuple[str, ...], tried: Tried) -> None:
    template = Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))
    rows = letters()
    with open_registry(str(template)) as registry:
        registry.datasets.import_(jsonl(tmp_path / "p.jsonl", [*rows, rows[0]]), name="team/pairs")
        registry.datasets.import_(jsonl(tmp_path / "o.jsonl", letters(2, about="that")), name="team/other")
    before = dump(f"sqlite:///{template}")
    folder = tmp_path / "killed"
    folder.mkdir()
    told = driver("kill", template, folder, "dataset", *command)
    assert set(told["codes"]) == {-9} and told["points"].count("before COMMIT") >= 1
    after = dump(f"sqlite:///{folder / 'whole.db'}")
    assert after != before
    last = len(told["points"]) - told["points"][::-1].index("before COMMIT")
    for number, point in enumerate(told["points"][:last], 1):
        path = folder / f"{number}.db"
        assert dump(f"sqlite:///{path}") == before, point
        with open_registry(str(path), create=False) as registry:
            check_consistent(registry)
    tried(f"{last} points at which it was killed")
