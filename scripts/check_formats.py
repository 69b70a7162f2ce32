#!/usr/bin/env python
"""Damages files of every vector format and reads them: each is refused in words, or read as another reader does.

    python scripts/check_formats.py --count 300 [--seed 0] [--only NAME] [--json] [--environment FOLDER]

``--count`` files of each layout in ``format_files.py`` are tried. The other readers are numpy, safetensors and json,
and where they are installed torch and gguf. With ``--environment`` the script makes a virtual environment there with
torch, gguf, repeng, steering-vectors and transformers (2 GB), runs there, and also carries vectors through these
packages' own files in both directions (``format_oracles.py``). Ends with 1 where a file was read in another way,
another exception came, or memory rose by more than 300 MB.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import os
import pickle
import random
import re
import resource
import subprocess
import sys
import tempfile
import traceback
import venv
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PACKAGES = ("torch==2.13.0", "gguf==0.19.0", "repeng==0.4.0", "steering-vectors==0.12.2", "safetensors")
_MOST_MEMORY = 300_000_000


class NotComparable(Exception):
    """The independent reader is not installed, or does not know this type of number."""


def _layer(name: str) -> int:
    return int(re.findall(r"\d+", name)[0])


def _torch(data: bytes) -> Any:
    if importlib.util.find_spec("torch") is None:
        raise NotComparable("torch")
    import torch

    try:
        return torch.load(io.BytesIO(data), weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):
            raise
        raise NotComparable("a step of a pickle protocol that torch's restricted reader does not have") from error


def _caa(data: bytes) -> dict[int, Any]:
    return {1: _torch(data).float().numpy()}


def _persona(data: bytes) -> dict[int, Any]:
    table = _torch(data).float().numpy()
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        cards = [name for name in archive.namelist() if name.endswith("caa_registry.json")]
        layers = json.loads(archive.read(cards[0]))["layers"] if cards else range(len(table) - 1)
    return {layer: table[layer + 1] for layer in layers}


def _gguf(data: bytes) -> dict[int, Any]:
    if importlib.util.find_spec("gguf") is None:
        raise NotComparable("gguf")
    from gguf import GGUFReader

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return {_layer(tensor.name): tensor.data.copy() for tensor in GGUFReader(file.name).tensors}


def _safetensors(data: bytes) -> dict[int, Any]:
    from safetensors.numpy import load

    if b"BF16" in data[:2000]:
        raise NotComparable("bfloat16")
    return {_layer(name): tensor for name, tensor in load(data).items()}


def _npz(data: bytes) -> dict[int, Any]:
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        if "direction" in arrays:
            layer = int(arrays["layer"].reshape(-1)[0]) if "layer" in arrays else 1  # what the user says
            return {layer: arrays["direction"]}
        return {_layer(name): arrays[name] for name in arrays.files if name != "caa_registry"}


def _svec(data: bytes, shift: int) -> dict[int, Any]:
    return {int(key) + shift: row for key, row in json.loads(data)["directions"].items() if int(key) + shift >= 0}


def _easysteer(data: bytes) -> dict[int, Any]:
    import numpy as np

    tensors = json.loads(data)["tensors"]
    return {_layer(name): np.frombuffer(base64.b64decode(each["data"]), "<f4") for name, each in tensors.items()}


def _rhizonymph(data: bytes) -> dict[int, Any]:
    import numpy as np

    entry = json.loads(data)["vectors"]["post_block"]
    if "data" in entry:
        table = np.frombuffer(base64.b64decode(entry["data"]), entry["dtype"]).reshape(entry["shape"])
        return dict(zip(map(int, entry["layer_indices"]), table, strict=True))
    return {int(key): row["vector"] if isinstance(row, dict) else row for key, row in entry.items()}


def _neuronpedia(data: bytes) -> dict[int, Any]:
    said = json.loads(data)
    return {said["layerNumber"] - (said.get("hookType") == "hook_resid_pre"): said["vector"]}


INDEPENDENT: Mapping[str, Callable[[bytes], dict[int, Any]]] = {
    "safetensors": _safetensors,
    "npz": _npz,
    "gguf": _gguf,
    "caa": _caa,
    "persona-vectors": _persona,
    "ibm": lambda data: _svec(data, -1),
    "aisteer360": lambda data: _svec(data, 0),
    "easysteer": _easysteer,
    "rhizonymph": _rhizonymph,
    "neuronpedia": _neuronpedia,
}


def tried(layout: str, count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many damaged files were read alike, refused, and read where nothing could be compared; and the failures."""
    from format_files import SOUND, damaged

    from caa_registry.errors import InputError
    from caa_registry.formats.reading import format_of
    from caa_registry.formats.vector_file import VectorFile

    sound = SOUND[layout]()
    outcomes = {"refused": 0, "alike": 0, "not compared": 0, "failed": 0}
    failures = []
    for number in range(-1, count):
        # The first is the sound file itself: a layout that nothing reads would pass every other test.
        data = damaged(sound, random.Random(f"{layout} {seed} {number}")) if number >= 0 else sound
        file = VectorFile("some file", data, layer=1)
        try:
            result = format_of(file).read(file)
        except InputError as error:
            outcomes["refused"] += 1
            if number < 0 or "some file" not in str(error):
                outcomes["failed"] += 1
                failures.append(f"{layout}, {number}: {error}")
            continue
        except Exception:  # noqa: BLE001 - what is looked for
            outcomes["failed"] += 1
            failures.append(f"{layout}, {number}:\n{traceback.format_exc(limit=-4)}")
            continue
        outcome, failure = compared(layout, data, result)
        outcomes[outcome] += number >= 0
        if failure:
            failures.append(f"{layout}, {number}: {failure}")
    return outcomes, failures


def compared(layout: str, data: bytes, result: Any) -> tuple[str, str]:
    """What became of a file that was read: ``alike``, ``not compared`` or ``failed`` and why."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = INDEPENDENT[result.format](data)
    except NotComparable:
        return "not compared", ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the other reader refuses the file
        return "failed", f"the independent reader refuses it: {type(error).__name__}: {str(error)[:300]}"
    if sorted(other) != sorted(result.directions):
        return "failed", f"layers {sorted(result.directions)}, and the independent reader has {sorted(other)}"
    for layer, numbers in result.directions.items():
        with np.errstate(over="ignore"):
            wanted = np.asarray(other[layer], dtype=np.float64).astype(np.float32)
        if wanted.size != numbers.size or not np.array_equal(wanted.reshape(numbers.shape), numbers):
            return "failed", f"layer {layer} is {numbers.tolist()}, and the independent reader has {wanted.tolist()}"
    return "alike", ""


def in_environment(folder: Path, arguments: list[str]) -> int:
    """This script, run in a virtual environment of its own; made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Making an environment in {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
    known = subprocess.run(
        [python, "-c", "import torch, gguf, repeng, steering_vectors"], capture_output=True, check=False
    )
    if known.returncode:
        print(f"Installing {', '.join(PACKAGES)} ...", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    command = [python, __file__, "--oracles", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="damaged files of each layout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the layout of this name")
    parser.add_argument("--json", action="store_true", help="print figures only")
    parser.add_argument("--environment", type=Path, help="where the packages of other tools are, or are installed")
    parser.add_argument("--oracles", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.environment:
        rest = [f"--count={options.count}", f"--seed={options.seed}"]
        rest += [f"--only={options.only}"] * bool(options.only) + ["--json"] * options.json
        return in_environment(options.environment.resolve(), rest)
    from format_files import SOUND

    figures: dict[str, Any] = {}
    failures = []
    if options.oracles:
        from format_oracles import round_trips

        figures["round trips"] = round_trips()
        if not options.json:
            print(f"round trips: {', '.join(figures['round trips'])}", flush=True)
    tried("safetensors", 20, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for layout in [name for name in SOUND if options.only in (None, name)]:
        figures[layout], failed = tried(layout, options.count, options.seed)
        failures += failed
        if not options.json:
            print(f"{layout}: {', '.join(f'{n} {what}' for what, n in figures[layout].items())}", flush=True)
    figures["memory_rise"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print("".join(f"{failure}\n" for failure in failures[:5]), end="", file=sys.stderr)
    print(json.dumps(figures) if options.json else f"memory rose by {figures['memory_rise'] / 1e6:.0f} MB")
    return int(bool(failures) or figures["memory_rise"] > _MOST_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
