"""The card of a vector: what it says, and that its commands make the vector and its scores again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registry.registry_support import jsonl, letters

import caa_registry as caa
from caa_registry.registry.records import PropensitySettings

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion
    from caa_registry.registry.registry import Registry


def test_the_commands_of_a_card_make_the_same_vector_and_scores(registry: Registry, tmp_path: Path) -> None:
    """In a shell, with nothing but the card. The questions are another dataset, and the pairs a second version."""
    registry.datasets.import_("seed:demo-sycophancy", name="team/pairs")
    pairs = registry.datasets.import_("seed:demo-sentiment", name="team/pairs")
    asked = registry.datasets.import_("seed:demo-sentiment-ab", name="team/asked")
    vector = registry.vectors.compute("team/vector", dataset=pairs, model="demo", layers=[1, 2, 4])
    first = registry.evaluations.propensity(
        vector,
        dataset=asked,
        split="test",
        model="demo",
        layers=[1, 2],
        multipliers=[-1, 0, 1.5],
        settings=PropensitySettings(controls=("isotropic",), draws=19, orders="both", rows="even"),
    )
    card = registry.reports.card("team/vector")
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", card, re.DOTALL) if "compute" in block]
    assert "--layers 1-2,4" in commands
    caa_command = f'caa() {{ "{sys.executable}" -m caa_registry --registry "{tmp_path / "new.db"}" "$@"; }}\n'
    environment = {**os.environ, "CAA_HOME": str(tmp_path / "new-home")}
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        ["bash", "-e", "-c", caa_command + "caa init\n" + commands],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with caa.open(str(tmp_path / "new.db")) as again:
        assert again.vectors.get("team/vector").digest == vector.digest in card
        second = again.evaluations.get(1)
        assert [(s.metric, s.layer, s.multiplier, s.value) for s in second.scores] == [
            (s.metric, s.layer, s.multiplier, s.value) for s in first.scores
        ]
    (apply,) = [block for block in re.findall(r"```sh\n(.*?)```", card, re.DOTALL) if "caa generate" in block]
    said = subprocess.run(
        ["bash", "-e", "-c", caa_command + apply.replace("PROMPT", "Please review the cake.")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0 and "[+1]" in said.stdout, said.stderr


def test_a_card_says_what_is_not_known(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    registry.vectors.compute("team/vector", dataset=pairs, model=model)
    card = registry.reports.card("team/vector")
    for sentence in (
        "No calibration has decided about this vector",
        "**No calibration recommends it.**",
        "**It was never evaluated**: nothing is known of what it does.",
        "Licence of its pairs: not known.",
        "No layer is recommended.",
        f"MODEL is a folder with {model.info.name}",
    ):
        assert sentence in card
    assert str(model.info.path) not in card
    registry.datasets.recall("team/pairs", why="labels were wrong")
    assert "**Quarantined**: " in registry.reports.card("team/vector")


@pytest.mark.parametrize("layers", [[1], [1, 2]])
def test_a_card_tells_the_p_value_of_its_null(
    registry: Registry, pairs: DatasetVersion, model: Model, layers: list[int]
) -> None:
    version = registry.vectors.compute("team/vector", dataset=pairs, model=model)
    evaluation = registry.evaluations.propensity(
        version, model=model, layers=layers, settings=PropensitySettings(draws=19)
    )
    best = registry.evaluations.evidence([version])[version.digest].score.layer
    name = "p_steerability" if len(layers) == 1 else "p_chosen_steerability"
    told = evaluation.at(best, name, evaluation.null or "")
    (row,) = [line for line in registry.reports.card(version).splitlines() if "per unit of multiplier |" in line]
    assert told is not None and row.endswith(f"| {told.value:.3f} |")


def test_the_card_of_a_normalized_vector_names_what_it_comes_from(
    registry: Registry, pairs: DatasetVersion, model: Model
) -> None:
    one = registry.vectors.compute("team/one", dataset=pairs, model=model)
    registry.vectors.compute("team/two", dataset=pairs, model=model, method="pca")
    registry.vectors.normalize(["team/one", "team/two"])
    card = registry.reports.card("team/one-normalized")
    assert one.digest in card and "caa vector compute" not in card


def test_hostile_texts_stay_in_one_line(registry: Registry, model: Model, tmp_path: Path) -> None:
    rows = letters(4)
    rows[0]["prompt"] = "`# Heading`\n\n## Another\n```sh\nrm -rf /\n```" + rows[0]["prompt"]
    data = registry.datasets.import_(jsonl(tmp_path / "hostile.jsonl", rows), name="team/hostile")
    registry.vectors.compute("team/vector", dataset=data, model=model)
    card = registry.reports.card("team/vector")
    assert "\n## Another" not in card and "\nrm -rf" not in card
