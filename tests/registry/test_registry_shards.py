"""Evaluations that several machines or processes share are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registry.registry_support import check_consistent, jsonl, letters
from support.tiny_models import TinyModels

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.evaluation.shards import MissingShardsError, Shard
from caa_registry.evaluation.unfinished import _line
from caa_registry.models.model import Model
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    OpenEndedSettings,
    PropensitySettings,
    VectorVersion,
)
from caa_registry.registry.registry import Registry

KINDS = ["propensity", "side-effects", "open-ended"]
BESIDE = PropensitySettings(draws=19, system_positive="Agree.", few_shot=1)

SAMPLED = ["--temperature", "0.7", "--seed", "3"]

Measure = Callable[..., Evaluation]


@pytest.fixture
def many(registry: Registry, tmp_path: Path) -> DatasetVersion:
    rows = [{**row, "split": split} for split in ("generate", "test") for row in letters(7)]
    for row in rows[7:]:
        row["prompt"] = f"And {row['prompt']}"
    return registry.datasets.import_(jsonl(tmp_path / "many.jsonl", rows), name="team/many")


@pytest.fixture
def version(registry: Registry, many: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=many, model=model)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("It is so.\n\nIs the sky blue? It is.\n\nNo, it was a good day.\n\nThat is all there is.\n")
    return path


@pytest.fixture
def measure(registry: Registry, version: VectorVersion, many: DatasetVersion, model: Model, text: Path) -> Measure:
    def measured(kind: str, shard: Shard | None = None, **asked: Any) -> Evaluation:
        common: dict[str, Any] = {"model": model, "layers": [0, 2], "multipliers": [-1, 0, 2], "shard": shard, **asked}
        if kind == "propensity":
            return registry.evaluations.propensity(version, settings=BESIDE, **common)
        if kind == "side-effects":
            return registry.evaluations.side_effects(version, text=str(text), **common)
        settings = OpenEndedSettings(max_tokens=4, temperature=0.7, seed=3)
        return registry.evaluations.open_ended(version, dataset=many, settings=settings, **common)

    return measured


def check_same(registry: Registry, one: Evaluation, other: Evaluation) -> None:
    assert one.id != other.id and one.settings == other.settings and one.metric == other.metric
    assert len(one.scores) == len(other.scores) > 0
    for a, b in zip(one.scores, other.scores, strict=True):
        assert replace(a, value=0, ci_low=None, ci_high=None) == replace(b, value=0, ci_low=None, ci_high=None)
        np.testing.assert_allclose(a.value, b.value, rtol=1e-6, atol=1e-6)
        # The bounds of few items lie many standard errors away, and rounding with them.
        for bound in ("ci_low", "ci_high"):
            np.testing.assert_allclose(getattr(a, bound) or 0, getattr(b, bound) or 0, rtol=1e-5, atol=1e-5)
    if one.kind == "open-ended":
        answers = [[(x.question, x.multiplier, x.text) for x in registry.evaluations.answers(e)] for e in (one, other)]
        assert answers[0] == answers[1]


def kept() -> list[Path]:
    return sorted((Path(os.environ["CAA_HOME"]) / "cache" / "unfinished").glob("*"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [(1, 2), (2, 1), (3, 1, 2)])
def test_whichever_shard_is_last_stores_the_evaluation_of_one_process(
    kind: str, order: tuple[int, ...], registry: Registry, measure: Measure
) -> None:
    one = measure(kind)
    assert kept() == []
    *first, last = [Shard(number, len(order)) for number in order]
    for place, shard in enumerate(first):
        with pytest.raises(MissingShardsError, match=f"shard {shard} is done and kept in ") as waiting:
            measure(kind, shard)
        left = sorted({*range(1, len(order) + 1)} - {*order[: place + 1]})
        assert [each.number for each in waiting.value.missing] == left
        assert Path(waiting.value.kept).is_file() and registry.evaluations.ls().total == 1
    together = measure(kind, last)
    check_same(registry, one, together)
    assert registry.evaluations.ls().total == 2 and kept() == []
    check_consistent(registry)


@pytest.mark.parametrize("kind", KINDS)
def test_shards_of_several_folders_are_merged(
    kind: str,
    registry: Registry,
    measure: Measure,
    text: Path,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = measure(kind)
    files = []
    for number in (1, 2):
        monkeypatch.setenv("CAA_HOME", str(tmp_path / f"machine-{number}"))
        with pytest.raises(MissingShardsError) as waiting:
            measure(kind, Shard(number, 2))
        files.append(Path(waiting.value.kept))
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "third"))
    text.unlink()  # the merging machine has no such file
    with pytest.raises(MissingShardsError, match=r"^shard 2/2 is missing"):
        registry.evaluations.merge(files[:1])

    def never(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("something was measured")

    monkeypatch.setattr("caa_registry.models.model.read_weights", never)
    check_same(registry, one, registry.evaluations.merge(files))
    assert all(path.is_file() for path in files)
    check_consistent(registry)


def test_a_shard_that_was_cut_is_not_complete(
    registry: Registry, measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number in (1, 2):
        monkeypatch.setenv("CAA_HOME", str(tmp_path / f"machine-{number}"))
        with pytest.raises(MissingShardsError) as waiting:
            measure("propensity", Shard(number, 2))
        files.append(Path(waiting.value.kept))
    files[1].write_bytes(files[1].read_bytes()[:-50])
    with pytest.raises(MissingShardsError, match=r"^shard 2/2 is not complete"):
        registry.evaluations.merge(files)
    assert registry.evaluations.ls().total == 0
    check_consistent(registry)


def test_what_is_no_shard_of_the_evaluation_is_named(
    registry: Registry, measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number, layers in ((1, [0, 2]), (2, [1])):
        monkeypatch.setenv("CAA_HOME", str(tmp_path / f"machine-{number}"))
        with pytest.raises(MissingShardsError) as waiting:
            measure("propensity", Shard(number, 2), layers=layers)
        files.append(Path(waiting.value.kept))
    with pytest.raises(InputError, match=rf"{files[1].name}: it is a shard of another evaluation .*: layers differ"):
        registry.evaluations.merge(files)
    with pytest.raises(NotFoundError, match="there is no file nowhere"):
        registry.evaluations.merge(["nowhere"])
    other = tmp_path / "notes.txt"
    other.write_text("0123456789ab {}\n")
    with pytest.raises(InputError, match="holds no shard"):
        registry.evaluations.merge([other])
    with pytest.raises(UsageError, match="no file is given"):
        registry.evaluations.merge([])
    assert registry.evaluations.ls().total == 0


def test_a_shard_that_somebody_made_up_is_an_input_error(
    registry: Registry, measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "machine"))
    with pytest.raises(MissingShardsError) as waiting:
        measure("propensity", Shard(1, 2))
    lines = [json.loads(line.partition(b" ")[2]) for line in Path(waiting.value.kept).read_bytes().splitlines()]
    path = tmp_path / "made-up.parts"

    def refused(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
        head, *parts = json.loads(json.dumps(lines))
        change(head["header"], parts[0])
        path.write_bytes(b"".join(_line(line) for line in (head, *parts)))
        with pytest.raises((InputError, UsageError, NotFoundError, MissingShardsError)):
            registry.evaluations.merge([path])

    request = lines[0]["header"]["request"]
    for key in request:
        refused(lambda head, part, key=key: head["request"].pop(key))  # type: ignore[misc]
        refused(lambda head, part, key=key: head["request"].update({key: 7}))  # type: ignore[misc]
    for key in lines[1]["kept"]:
        refused(lambda head, part, key=key: part["kept"].pop(key))  # type: ignore[misc]
        refused(lambda head, part, key=key: part["kept"].update({key: "?"}))  # type: ignore[misc]
    assert registry.evaluations.ls().total == 0


def test_another_model_than_the_shards_had_is_refused(
    registry: Registry, measure: Measure, tiny: TinyModels, tmp_path: Path
) -> None:
    with pytest.raises(MissingShardsError) as waiting:
        measure("side-effects", Shard(1, 2))
    with pytest.raises(InputError, match=r"does not fit what is here now: .*fingerprint differ"):
        registry.evaluations.merge([waiting.value.kept], model=tiny.folder("gpt2"))


def test_shards_beyond_the_questions_have_nothing_to_do(registry: Registry, measure: Measure) -> None:
    for number in (1, 2, 3, 4):
        with pytest.raises(MissingShardsError):
            measure("side-effects", Shard(number, 5) if number > 1 else Shard(5, 5))
    assert measure("side-effects", Shard(1, 5)).n == 4


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Shard.parse(text)


def caa(registry: Registry, home: Path, *arguments: object, launcher: tuple[object, ...] = ()) -> subprocess.Popen[str]:
    command = [*launcher, sys.executable, "-m", "caa_registry", "--json", "--registry", registry.database.path]
    environment = {**os.environ, "CAA_HOME": str(home)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(part) for part in [*command, *arguments]], stdout=pipe, stderr=pipe, text=True, env=environment
    )


def command_of(kind: str, model: Path, text: Path) -> list[object]:
    asked: list[object] = ["eval", kind, "team/v", "--model", model, "--multipliers", "-1,0,2"]
    return (
        asked
        + {
            "propensity": ["--layers", "0,2", "--draws", 19, "--system-positive", "Agree.", "--few-shot", 1],
            "side-effects": ["--layers", "0,2", "--text", text],
            "open-ended": [
                "--dataset",
                "team/many",
                "--layer",
                "0,2",
                *["--max-tokens", "4", "--temperature", "0.7", "--seed", "3"],
            ],
        }[kind]
    )


def test_two_shards_at_once_store_one_evaluation(
    registry: Registry, measure: Measure, tiny: TinyModels, text: Path, tmp_path: Path
) -> None:
    one = measure("side-effects")
    command = command_of("side-effects", tiny.folder("llama"), text)
    running = [caa(registry, tmp_path / "shared-home", *command, "--shard", f"{number}/2") for number in (1, 2)]
    documents = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert all(process.returncode == 0 for process in running)
    assert any("kept" not in document for document in documents)
    assert registry.evaluations.ls().total == 2
    check_same(registry, one, registry.evaluations.ls()[-1])


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_of_one_job_share_the_questions(
    kind: str, registry: Registry, measure: Measure, tiny: TinyModels, text: Path, tmp_path: Path
) -> None:
    one = measure(kind)
    launch = Path(sys.executable).parent / "mlx.launch"
    command = command_of(kind, tiny.folder("llama"), text)
    process = caa(registry, tmp_path / "home-of-two", *command, launcher=(launch, "-n", 2, "--"))
    output, errors = process.communicate(timeout=120)
    document = json.loads(output[output.index("{") : output.rindex("}") + 1])
    together = registry.evaluations.get(document["evaluation"])
    check_same(registry, one, together)
    assert registry.evaluations.ls().total == 2, errors
    assert not list((tmp_path / "home-of-two" / "cache" / "unfinished").glob("*"))
    check_consistent(registry)


@pytest.mark.long
def test_a_job_calibrates_once(
    registry: Registry, version: VectorVersion, tiny: TinyModels, text: Path, tmp_path: Path
) -> None:
    launch = Path(sys.executable).parent / "mlx.launch"
    command: list[object] = ["eval", "calibrate", "team/v", "--model", tiny.folder("llama"), "--multipliers", "-1,1"]
    command += ["--text", text, "--layers", "1", "--target-kl", "100", "--coherence", "2"]
    process = caa(registry, tmp_path / "home-of-two", *command, launcher=(launch, "-n", 2, "--"))
    output, errors = process.communicate(timeout=180)
    assert "{" in output, errors
    document = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert document["alias"] is not None or document["reason"], errors
    kinds = sorted(evaluation.kind for evaluation in registry.evaluations.ls())
    assert kinds.count("propensity") == kinds.count("side-effects") == 1
    check_consistent(registry)
