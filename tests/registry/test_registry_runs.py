"""Runs: of scripts, of what failed, and what called them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registry.registry_support import jsonl, letters
from support.changed import change

import caa_registry as caa
from caa_registry.errors import IntegrityError, JudgeError, NotFoundError, UsageError
from caa_registry.evaluation.open_ended.judging import Answered, JudgeIdentity, Rating
from caa_registry.registry.provenance.git_state import git_state
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.computation import Computation

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with caa.open(url, actor="ada") as opened:
        yield opened


@pytest.fixture
def pairs(registry: Registry, tmp_path: Path) -> DatasetVersion:
    sources = {split: jsonl(tmp_path / f"{split}.jsonl", letters(4, about=split)) for split in ("generate", "test")}
    return registry.datasets.import_(sources, name="team/pairs")


def test_a_step_of_a_script_is_a_run_with_what_it_did(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    with registry.run("choose a layer", inputs=[pairs], parameters={"tries": 2}) as run:
        vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
        made = registry.evaluations.propensity(vector, split="test", model=model, layers=[1])
        run.parameters["layer"] = 1
        run.made(vector, f"evaluation:{made.id}")
    outside = registry.evaluations.propensity(vector, split="test", model=model, layers=[0])
    assert run.number is not None
    found = registry.runs.get(run.number)
    assert (found.run.kind, found.run.status, found.run.actor) == ("script", "done", "ada")
    assert found.run.parameters["name"] == "choose a layer"
    assert found.run.parameters["parameters"] == {"tries": 2, "layer": 1}
    assert found.inputs == [("dataset", "team/pairs:v1")]
    assert found.outputs == [("evaluation", f"evaluation {made.id}"), ("vector", "team/vector:v1")]
    assert found.run.started_at <= registry.runs.get(found.runs[0]).run.started_at
    within = [registry.runs.get(number) for number in found.runs]
    assert [each.run.kind for each in within] == ["compute", "evaluate"]
    assert {each.within for each in within} == {run.number}
    # The vector was made there, and is not read from outside.
    assert found.used == [("dataset", "team/pairs:v1"), ("model", model.info.name)]
    other = registry.runs.ls(kind="evaluate")[0]
    assert other.outputs == [("evaluation", f"evaluation {outside.id}")] and other.within is None
    assert registry.fsck().faults == ()
    # What made the vector is still its computation.
    node = registry.lineage("team/vector").root
    assert node.run is not None and node.run.kind == "compute"


def test_steps_stand_within_steps(registry: Registry, pairs: DatasetVersion) -> None:
    with registry.run("outer") as outer, registry.run("inner", inputs=["team/pairs"]) as inner:
        pass
    assert inner.number is not None and outer.number is not None
    assert registry.runs.get(inner.number).within == outer.number
    assert registry.runs.get(outer.number).runs == [inner.number]
    assert registry.runs.get(outer.number).used == [("dataset", "team/pairs:v1")]


def test_a_step_that_fails_is_kept_with_why(registry: Registry, pairs: DatasetVersion) -> None:
    with pytest.raises(ZeroDivisionError), registry.run("divide", inputs=["team/pairs:v1"]) as run:
        _ = 1 / 0
    assert run.number is not None
    found = registry.runs.get(run.number).run
    assert (found.status, found.failure) == ("failed", "ZeroDivisionError: division by zero")
    assert registry.audit.ls()[0].subject["failure"] == found.failure
    with pytest.raises(KeyboardInterrupt), registry.run("wait") as run:
        raise KeyboardInterrupt
    assert registry.runs.ls(limit=1)[0].run.failure == "interrupted"
    assert registry.fsck().faults == ()


@pytest.mark.parametrize(
    "parameters", [{"a": float("nan")}, {"a": {1: 2}}, {"a": object()}, {"a": [b"x"]}, {"a": "\x00"}, {"\ud800": 1}]
)
def test_parameters_that_are_no_json_are_refused(registry: Registry, parameters: dict[str, Any]) -> None:
    with pytest.raises((UsageError, caa.InputError)), registry.run("x", parameters=parameters):
        raise AssertionError("never begun")
    assert list(registry.runs.ls()) == []
    with pytest.raises((UsageError, caa.InputError)), registry.run("x") as run:
        run.parameters.update(parameters)
    (kept,) = registry.runs.ls()
    assert kept.run.failure and "parameters" not in kept.run.parameters


def test_what_does_not_exist_is_not_declared(registry: Registry) -> None:
    with pytest.raises(NotFoundError), registry.run("x", inputs=["team/none"]):
        raise AssertionError("never begun")
    with pytest.raises(UsageError, match="needs a name"), registry.run(" "):
        raise AssertionError("never begun")
    assert list(registry.runs.ls()) == []


def test_a_computation_that_fails_or_is_interrupted_is_kept(
    registry: Registry, pairs: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failing

    monkeypatch.setattr(Computation, "run", fail)
    for failing, words in ((MemoryError("no memory"), "MemoryError: no memory"), (KeyboardInterrupt(), "interrupted")):
        with pytest.raises(type(failing)):
            registry.vectors.compute("team/vector", dataset=pairs, model=model)
        kept = registry.runs.ls(limit=1)[0]
        assert (kept.run.kind, kept.run.failure) == ("compute", words)
        assert kept.inputs == [("dataset", "team/pairs:v1")] and kept.outputs == []
        assert kept.run.parameters["name"] == "team/vector"
    before = len(registry.runs.ls())
    # What is refused at the door never began.
    for arguments in (
        {"dataset": "team/none"},
        {"dataset": pairs, "split": "other"},
        {"dataset": pairs, "layers": [99]},
    ):
        with pytest.raises(caa.CaaError):
            registry.vectors.compute("team/vector", model=model, **arguments)
    assert len(registry.runs.ls()) == before
    assert registry.fsck().faults == () and list(registry.vectors.ls()) == []


def test_evaluations_that_fail_are_kept(
    registry: Registry, pairs: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry.registry.evaluations import open_ended
    from caa_registry.registry.evaluations.propensity import measurement

    vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)

    def fail(*_: object, **__: object) -> None:
        raise OSError("the network went away")

    with monkeypatch.context() as patched:
        patched.setattr(measurement, "_measure", fail)
        patched.setattr(open_ended, "_measure", fail)
        with pytest.raises(OSError, match="went away"):
            registry.evaluations.propensity(vector, split="test", model=model, layers=[1])
        with pytest.raises(OSError, match="went away"):
            registry.evaluations.open_ended(vector, dataset=pairs, split="test", model=model, layers=[1])
    made = registry.evaluations.open_ended(vector, dataset=pairs, split="test", model=model, layers=[1])
    with pytest.raises(JudgeError):
        registry.evaluations.rate(made, _Gone())
    runs = [each for each in registry.runs.ls() if each.run.failure]
    assert [(each.run.kind, each.run.failure) for each in runs] == [
        ("rate", "gone"),
        ("evaluate", "OSError: the network went away"),
        ("evaluate", "OSError: the network went away"),
    ]
    assert ("vector", "team/vector:v1") in runs[1].inputs and not any(each.outputs for each in runs)
    assert registry.fsck().faults == ()


class _Gone:
    """A judge that is not there."""

    identity = JudgeIdentity("human", "ada", "sha256:" + "0" * 64)

    def ratings(self, _: Sequence[Answered]) -> Iterator[Rating]:
        raise JudgeError("gone")


def test_arrows_that_were_changed_are_damage(whole: Path, tmp_path: Path) -> None:
    for place, statement in enumerate(
        (
            "UPDATE run_io SET object_id = 2 WHERE direction = 'input' AND kind = 'vector' AND object_id = 1",
            "UPDATE run_io SET role = 'calibrated' WHERE run_id = 2",
            "DELETE FROM run_io WHERE run_id = 3 AND direction = 'output'",
            "INSERT INTO run_io SELECT run_id, 'input', 'vector', 1, '' FROM run_io WHERE run_id = 1 LIMIT 1",
        )
    ):
        copy = Path(shutil.copy(whole, tmp_path / f"{place}.db"))
        change(copy, statement)
        with caa.open(str(copy)) as registry:
            with pytest.raises(IntegrityError, match="what it read and made is not what was stored"):
                registry.runs.ls()
            assert any("what it read and made" in fault.problem for fault in registry.fsck().faults)


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    return folder


def test_the_state_of_the_callers_repository_is_kept(repository: Path, registry: Registry) -> None:
    assert git_state() is None
    git(repository, "init", "-q")
    assert git_state() is None  # no commit yet
    (repository / "a.txt").write_text("a")
    git(repository, "add", "a.txt")
    git(repository, "commit", "-q", "-m", "first")
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (repository / "untracked.txt").write_text("a")
    assert git_state() == {"commit": commit, "dirty": False}
    (repository / "a.txt").write_text("b")
    with registry.run("step") as run:
        (repository / "a.txt").write_text("a")
    assert run.number is not None
    # As it was when the run began.
    assert registry.runs.get(run.number).run.environment["git"] == {"commit": commit, "dirty": True}


def test_a_repository_starts_no_program_and_is_not_written(repository: Path) -> None:
    git(repository, "init", "-q")
    (repository / "a.txt").write_text("a")
    git(repository, "add", "a.txt")
    git(repository, "commit", "-q", "-m", "first")
    program = repository.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch {repository.parent}/started\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))
    index = (repository / ".git" / "index").stat()
    os.utime(repository / "a.txt", (1, 1))
    assert git_state() is not None and not (repository.parent / "started").exists()
    assert (repository / ".git" / "index").stat().st_mtime_ns == index.st_mtime_ns


def test_a_script_is_of_the_repository_that_it_lies_in(repository: Path, tmp_path: Path) -> None:
    git(repository, "init", "-q")
    script = repository / "step.py"
    script.write_text(
        "from caa_registry.registry.provenance.git_state import git_state\nprint(git_state()['commit'])\n"
    )
    git(repository, "add", "step.py")
    git(repository, "commit", "-q", "-m", "first")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == git(repository, "rev-parse", "HEAD")
