#!/usr/bin/env python
"""Steers the demo model in llama.cpp with a GGUF file that was exported, and compares the logits with ours.

    python scripts/check_llama.py --environment FOLDER [--json]

A virtual environment in FOLDER gets llama-cpp-python, which builds llama.cpp once (six minutes on two cores; it needs
a C++ compiler), gguf and safetensors. There ``llama_oracle.py`` writes the demo model as GGUF in float32, has llama.cpp
read the file as its programs do, and steers with it, at each block by itself (``--control-vector-layer-range``) and at
all. Ours are the logits after the same block, all positions steered. Ends with 1 where they differ by more than 0.002,
or where the same vector one block beside differs by less than 0.1, so that a shift would not show.
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

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PACKAGES = ("llama-cpp-python==0.3.36", "gguf==0.19.0", "safetensors")
_MOST_APART = 2e-3
_LEAST_SHIFTED = 0.1
_TEXTS = 4


def python_with_llama(folder: Path) -> Path:
    """The Python of the environment in ``folder``, made where it is missing, llama.cpp's build beside it."""
    python, build = folder / "bin" / "python", folder / "llama.cpp"
    if not python.exists():
        print(f"Making an environment in {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
    known = subprocess.run([python, "-c", "import llama_cpp, gguf, safetensors"], capture_output=True, check=False)
    if known.returncode or not build.is_dir():
        print(f"Installing {', '.join(PACKAGES)} (llama.cpp is compiled) ...", file=sys.stderr)
        # The build is kept for llama.cpp's own reader of control vectors, which is not installed.
        options = ["--quiet", "--force-reinstall", "--no-cache-dir", f"--config-settings=build-dir={build}"]
        command = [python, "-m", "pip", "install", *options, "--no-binary=llama-cpp-python", *PACKAGES]
        subprocess.run(command, check=True)
    return python


def compared(python: Path) -> dict[str, Any]:
    """How far llama.cpp's logits are from ours, the largest difference over all texts, positions and tokens."""
    import numpy as np

    import caa_registry as caa
    from caa_registry.models.loading import demo_model_folder

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with caa.open(str(folder / "registry.db")) as registry:
            pairs = registry.datasets.import_("seed:demo-sycophancy", name="demo/sycophancy")
            model = registry.models.load("demo")
            version = registry.vectors.compute("demo/sycophancy", dataset=pairs, model=model)
            vectors = registry.vectors.load(version)
            # llama.cpp has no place for a vector after block 0.
            layers = [layer for layer in version.layer_numbers if layer > 0]
            registry.vectors.export(version, folder / "vectors.gguf", layers=layers)
            test = registry.datasets.pairs(pairs, split="test")[:_TEXTS]
        texts = [model.template().complete(item.pair.prompt, item.pair.positive).ids for item in test]
        (folder / "ids.json").write_text(json.dumps(texts), encoding="utf-8")
        files = [folder / each for each in ("vectors.gguf", "ids.json", "out.npz")]
        oracle, build = Path(__file__).with_name("llama_oracle.py"), python.parents[1] / "llama.cpp"
        command = [python, oracle, build, demo_model_folder(), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        with np.load(folder / "out.npz") as arrays:
            theirs = {key: arrays[key] for key in arrays.files}

    def apart(key: str, additions: Mapping[int, Any]) -> float:
        return max(
            float(np.abs(theirs[f"{key}.{number}"] - ours(model, ids, additions)).max())
            for number, ids in enumerate(texts)
        )

    blocks = []
    for block in layers:
        values = vectors[block].values
        beside = [layer for layer in (block - 1, block + 1) if layer < model.n_layers]
        blocks.append({
            "block": block,
            "same_block": apart(f"block{block}", {block: values}),
            "one_block_off": min(apart(f"block{block}", {layer: values}) for layer in beside),
            "unsteered": apart(f"block{block}", {}),
        })  # fmt: skip
    everywhere = {layer: vectors[layer].values for layer in layers}
    return {"unsteered": apart("unsteered", {}), "blocks": blocks, "all_blocks": apart("all", everywhere)}


def ours(model: Any, ids: Sequence[int], additions: Mapping[int, Any]) -> Any:
    """Our logits ``(tokens, vocabulary)`` with ``additions``, layer to vector, at all positions."""
    import numpy as np

    from caa_registry import mx_thread
    from caa_registry.engine.likelihoods import logits_from
    from caa_registry.steering.additions import Addition, steering

    def run() -> Any:
        with steering(model, [Addition(layer, vector) for layer, vector in additions.items()], "all"):
            return np.array(logits_from(model, [ids], [0], 0))[0]

    return mx_thread.run(run)


def failures(figures: Mapping[str, Any]) -> list[str]:
    """What does not hold, in words."""
    found = [
        f"{what}: {figures[key]:.2g} apart"
        for key, what in (("unsteered", "without steering"), ("all_blocks", "all blocks"))
        if figures[key] > _MOST_APART
    ]
    for each in figures["blocks"]:
        if each["same_block"] > _MOST_APART:
            found.append(f"block {each['block']}: {each['same_block']:.2g} apart")
        if min(each["one_block_off"], each["unsteered"]) < _LEAST_SHIFTED:
            found.append(f"block {each['block']}: a shift of one block would not show")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True, help="where llama.cpp is, or is built")
    parser.add_argument("--json", action="store_true", help="print figures only")
    options = parser.parse_args()
    figures = compared(python_with_llama(options.environment.resolve()))
    if options.json:
        print(json.dumps(figures))
    else:
        print("Largest difference of a logit between llama.cpp and ours:")
        print(f"  unsteered: {figures['unsteered']:.1e}")
        for each in figures["blocks"]:
            print(
                f"  block {each['block']}: {each['same_block']:.1e} "
                f"(ours one block off: {each['one_block_off']:.2f}, ours unsteered: {each['unsteered']:.2f})"
            )
        print(f"  all blocks: {figures['all_blocks']:.1e}")
    found = failures(figures)
    print("".join(f"{each}\n" for each in found), end="", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
