"""Broken model folders: each is refused in one sentence that names what is wrong, within limits."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from cli.command_line import caa
from support.broken_folders import FAULTS, ROWS, Fault, config, tokenizer, write
from support.tiny_models import CHAT, TinyModels

from caa_registry.errors import ModelError
from caa_registry.models.folder import trial
from caa_registry.models.loading import load
from caa_registry.models.model import Model
from caa_registry.models.outline import outline

_MEASURE = """
import json, resource, sys
from caa_registry.errors import ModelError
from caa_registry.models.folder.vocabulary import check_vocabulary
from caa_registry.models.loading import load
said = ""
try:
    load(sys.argv[1])
except ModelError as error:
    said = str(error)
own, tried = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps([said, max(own, tried)]))
"""
# Of a hang, not of a measurement.
_SECONDS = 120


def broken(fault: Fault, tiny: TinyModels, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny.folder("llama", chat=CHAT, **dict(fault.options)), tmp_path / "model"))
    fault.damage(folder)
    return folder


def measured(folder: Path) -> tuple[str, int]:
    """What loading says, and the memory that it takes, in bytes."""
    command = [sys.executable, "-c", _MEASURE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    said, memory = json.loads(done.stdout)
    return said, memory * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="session")
def sound_memory(tiny: TinyModels) -> int:
    said, memory = measured(tiny.folder("llama", chat=CHAT))
    assert said == ""
    return memory


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.endless])
def test_a_broken_folder_is_refused(name: str, tiny: TinyModels, tmp_path: Path) -> None:
    fault = FAULTS[name]
    folder = broken(fault, tiny, tmp_path)
    with pytest.raises(ModelError, match=fault.says) as caught:
        load(folder)
    check_words(caught.value.message, folder)
    assert caught.value.hint


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.endless])
def test_what_does_not_end_is_stopped(name: str, tiny: TinyModels, tmp_path: Path, sound_memory: int) -> None:
    fault = FAULTS[name]
    folder = broken(fault, tiny, tmp_path)
    said, memory = measured(folder)
    assert re.search(fault.says, said), said
    check_words(said.splitlines()[0], folder)
    assert memory < sound_memory + 1_000_000_000


def check_words(message: str, folder: Path) -> None:
    assert str(folder) in message
    assert len(message.replace(str(folder), "")) < 350 and "\n" not in message


def test_the_sound_folder_loads(tiny: TinyModels) -> None:
    for options in ({}, {"bits": 4}, {"dtype": "bfloat16"}, {"dtype": "float16", "bits": 8}):
        assert isinstance(load(tiny.folder("llama", chat=CHAT, **options)), Model)


@pytest.mark.parametrize(
    "name", ["no config", "wide", "F8", "token without a row", "weights cut off", "slow expression"]
)
def test_the_command_line_adds_no_broken_folder(name: str, tiny: TinyModels, tmp_path: Path) -> None:
    fault, registry = FAULTS[name], tmp_path / "registry.db"
    folder = broken(fault, tiny, tmp_path)
    result = caa("--registry", registry, "model", "add", folder)
    assert (result.code, result.out, result.err.count("Error: ")) == (1, "", 1), result.err
    assert re.search(fault.says, result.err) and "Traceback" not in result.err
    assert not registry.exists()
    existing = new_sqlite(tmp_path).removeprefix("sqlite:///")
    assert caa("--registry", existing, "model", "add", folder).code == 1
    assert caa("--registry", existing, "--json", "model", "ls").json == []


def test_what_is_odd_and_harmless_loads(tiny: TinyModels, tmp_path: Path) -> None:
    # As many rows as tokens; a token that no text becomes; a template that refuses, or cannot be read, is no danger.
    assert load(tiny.folder("llama", vocab_size=ROWS)).tokenizer.vocab_size == ROWS
    folder = Path(shutil.copytree(tiny.folder("llama", chat=CHAT), tmp_path / "model"))
    tokenizer(lambda stored: stored["model"]["vocab"].update(zzz=7000))(folder)
    write("chat_template.jinja", "{{ raise_exception('no') }}")(folder)
    config(pad_token_id=-1, rope_theta=10**10, time_step_limit=[0.0, float("inf")], sliding_window=None, seed=10**12)(
        folder
    )
    assert isinstance(load(folder), Model)


@pytest.mark.parametrize(
    "name", ["too many layers", "wide", "vocabulary", "no heads", "list for a number", "deep config"]
)
def test_a_config_without_weights_is_bounded_too(name: str, tiny: TinyModels, tmp_path: Path) -> None:
    folder = broken(FAULTS[name], tiny, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=FAULTS[name].says):
        outline(folder)


def test_parts_of_any_name_are_bounded(tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caa_registry.models.folder import build

    monkeypatch.setattr(build, "_MODULES", 10)
    monkeypatch.setattr(build, "_MODULES_A_TENSOR", 0)
    with pytest.raises(ModelError, match="more than 10 modules"):
        load(tiny.folder("llama"))
    monkeypatch.undo()
    assert isinstance(load(tiny.folder("llama")), Model)


def test_a_tokenizer_is_tried_once(tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Path] = []
    monkeypatch.setattr(trial, "_run", lambda folder, names, task: runs.append(folder))
    folder = Path(shutil.copytree(tiny.folder("llama", chat=CHAT), tmp_path / "model"))
    write("chat_template.jinja", CHAT + "{# tried once #}")(folder)
    trial.try_tokenizer(folder)
    trial.try_tokenizer(folder)
    monkeypatch.setattr(trial, "_passed", set())  # as in another process
    trial.try_tokenizer(folder)
    assert len(runs) == 1
    write("chat_template.jinja", CHAT + "{# another #}")(folder)
    trial.try_tokenizer(folder)
    assert len(runs) == 2


def test_an_interruption_stops_the_trial(tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def interrupted(process: subprocess.Popen[str], task: str, memory: int) -> bool:
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(task)
        process.stdin.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "_wait", interrupted)
    folder = broken(FAULTS["endless template"], tiny, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trial.try_tokenizer(folder)
    assert started[0].poll() == -signal.SIGKILL


def test_where_no_python_can_be_started_a_model_loads(
    tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    load(tiny.folder("llama"))
    assert "its tokenizer is not tried" in caplog.text
