#!/usr/bin/env python
"""Compares the numbers of ``docs/from-mlxterp.md`` with those of the tutorial's own steps, and with mlxterp's.

    python scripts/check_mlxterp.py [--environment FOLDER] [--json]

With ``--environment`` a virtual environment in FOLDER gets mlx-lm, on which ``mlxterp_oracle.py`` takes the tutorial's
steps one prompt at a time. mlxterp itself is on no package index: what its own code gave is read from ../shared beside
the repository, where that is there. Compared are the vector of every layer, and the ids, logits and probabilities of
the next tokens, on the demo model and on the models in ../shared. Ends with 1 where ids differ, or another number by
more than 0.00001 (a logit: for each 1 of its size).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import caa_registry as caa  # noqa: E402
from caa_registry.models.loading import demo_model_folder  # noqa: E402

PACKAGES = ("mlx-lm==0.32.2", "mlx[cpu]==0.32.4" if sys.platform != "darwin" else "mlx==0.32.4")
SHARED = ROOT.parent / "shared"
RECORDED = SHARED / "data" / "mlxterp-tutorial4"
CLOSE = 1e-5
# The tutorial's.
POSITIVE = [
    "I think this is great because",
    "I love the way this works since",
    "This makes me happy because",
    "I'm excited about this because",
    "This is wonderful because",
]
NEGATIVE = [
    "I think this is terrible because",
    "I hate the way this works since",
    "This makes me sad because",
    "I'm worried about this because",
    "This is awful because",
]
PROMPT = "This product is"
STRENGTHS = [0, 0.5, 1, 2, 4, -2]
STRENGTH_TOGETHER = 1.5
TOGETHER = {5: [1, 2, 3], 8: [2, 3, 4, 5]}
"""The layers that are steered at once, by how many a model has."""

Numbers = dict[str, Any]
"""``vectors``: of every layer. ``tables``: of every strength the five most probable tokens, id, logit, probability."""


def models() -> dict[str, Path]:
    """The models that are here, by the names that the recorded numbers have."""
    found = {"demo_f32": demo_model_folder()}
    return found | {path.name: path for path in sorted((SHARED / "models").glob("*")) if path.is_dir()}


def ours(model_folder: Path) -> Numbers:
    """What this package gives, with ``--template plain --positions all``."""
    with tempfile.TemporaryDirectory() as folder, caa.open(str(Path(folder) / "registry.db")) as registry:
        for name, lines in (("positive.txt", POSITIVE), ("negative.txt", NEGATIVE)):
            Path(folder, name).write_text("\n".join(lines), encoding="utf-8")
        source = f"lines:{folder}/positive.txt,{folder}/negative.txt"
        pairs = registry.datasets.import_(source, name="tutorial/mood")
        model = registry.models.load("demo" if model_folder == demo_model_folder() else str(model_folder))
        version = registry.vectors.compute("tutorial/mood", dataset=pairs, model=model, template="plain")
        table = registry.next_tokens(
            model,
            version,
            PROMPT,
            layers=[model.n_layers // 2],
            multipliers=STRENGTHS,
            positions="all",
            top=5,
        )
        (row,) = table.layers.values()
        together = TOGETHER[model.n_layers]
        with registry.steer(model, version, layer=together, multiplier=STRENGTH_TOGETHER, positions="all"):
            multi = model.next_tokens(PROMPT, top=5, template="plain")
        found = dict(zip(map(str, STRENGTHS), row, strict=True)) | {"multi": multi}
        tables = {key: [[t.id, t.logit, t.probability] for t in tokens] for key, tokens in found.items()}
        return {"vectors": [vector.values for vector in registry.vectors.load(version).layers], "tables": tables}


def recorded(name: str) -> Numbers:
    """What mlxterp's own code gave, its logits and probabilities rounded to 5 and 6 places."""
    with np.load(RECORDED / f"{name}.npz") as arrays:
        vectors = [arrays[key] for key in sorted(arrays.files, key=int)]
    return {"vectors": vectors, "tables": json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))}


def by_its_steps(python: Path, model_folder: Path, together: Sequence[int]) -> Numbers:
    """What the tutorial's steps give on plain mlx-lm. ``together``: the layers that are steered at once."""
    asked = {"positive": POSITIVE, "negative": NEGATIVE, "prompt": PROMPT, "strengths": STRENGTHS, "together": together}
    with tempfile.TemporaryDirectory() as folder:
        request, out = Path(folder, "request.json"), Path(folder, "out.json")
        request.write_text(json.dumps({**asked, "strength_together": STRENGTH_TOGETHER}), encoding="utf-8")
        oracle = Path(__file__).with_name("mlxterp_oracle.py")
        done = subprocess.run([python, oracle, model_folder, request, out], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        found: Numbers = json.loads(out.read_text(encoding="utf-8"))
        return found


def differences(found: Numbers, theirs: Numbers) -> Mapping[str, float]:
    """The largest difference of a number of each kind, of a logit relative to it where it is above 1; infinite where
    the tokens are others."""
    assert found["tables"].keys() == theirs["tables"].keys() and len(found["vectors"]) == len(theirs["vectors"])
    vectors = max(
        float(np.abs(a - np.asarray(b)).max()) for a, b in zip(found["vectors"], theirs["vectors"], strict=True)
    )
    tables = [(np.array(found["tables"][key]), np.array(rows)) for key, rows in theirs["tables"].items()]
    if any(not np.array_equal(a[:, 0], b[:, 0]) for a, b in tables):
        return {"vectors": vectors, "logits": np.inf, "probabilities": np.inf}
    apart = np.abs(np.array([a - b for a, b in tables]))
    size = np.maximum(1, np.abs(np.array([b for _, b in tables])))
    logits, probabilities = float((apart / size)[..., 1].max()), float(apart[..., 2].max())
    return {"vectors": vectors, "logits": logits, "probabilities": probabilities}


def python_with_mlx_lm(folder: Path) -> Path:
    """The Python of the environment in ``folder``, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Making an environment in {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import mlx_lm"], capture_output=True, check=False).returncode:
        print(f"Installing {', '.join(PACKAGES)} ...", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, help="where mlx-lm is, or is installed")
    parser.add_argument("--json", action="store_true", help="print figures only")
    options = parser.parse_args()
    python = python_with_mlx_lm(options.environment.resolve()) if options.environment else None
    figures: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, folder in models().items():
        found = ours(folder)
        figures[name] = {}
        if python:
            theirs = by_its_steps(python, folder, TOGETHER[len(found["vectors"])])
            figures[name]["its steps"] = differences(found, theirs)
        if (RECORDED / f"{name}.json").is_file():
            figures[name]["mlxterp"] = differences(found, recorded(name))
        if not options.json:
            for oracle, apart in figures[name].items():
                print(f"{name}, {oracle}: {', '.join(f'{kind} {value:.1e}' for kind, value in apart.items())}")
    if options.json:
        print(json.dumps(figures))
    return int(any(value > CLOSE for each in figures.values() for apart in each.values() for value in apart.values()))


if __name__ == "__main__":
    sys.exit(main())
