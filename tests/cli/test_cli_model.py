"""``caa model``: from a hub, and how a template renders a conversation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import mlx.core as mx
import pytest
from cli.command_line import caa, process
from support.adapters import of_mlx_lm, of_peft
from support.chat_templates import SHAPES
from support.hub_server import HubServer, client_environment
from support.tiny_models import build

from caa_registry.cli.main import cli


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.long
def test_a_model_of_a_hub_is_named_as_a_dataset_is(
    hub: HubServer, empty: Path, tiny_folder: Path, other_folder: Path, tmp_path: Path
) -> None:
    first = hub.commit("team/model", files_of(other_folder))
    hub.tag("team/model", "old", first)
    newest = hub.commit("team/model", files_of(tiny_folder))
    environment = client_environment(hub.url, tmp_path / "hf")

    def added(*arguments: str) -> tuple[str, str, str]:
        done = process("model", "add", *arguments, "--json", environment=environment)
        assert done.code == 0, done.err
        return done.json["repo_id"], done.json["revision"], done.json["weights"]

    old, new = added("hf:team/model@old"), added("hf:team/model")
    assert (old[:2], new[:2]) == (("team/model", first), ("team/model", newest))
    assert old[2] != new[2]
    assert added("team/model", "--revision", "old") == old
    assert added("hf:team/model@old", "--revision", "old") == old
    for wrong, said in (
        (["hf:team/model@old", "--revision", "main"], "disagree"),
        (["hf:team/model/config.json"], "names a file"),
        (["hf:team"], "is not a hub source"),
        (["hf:team/none"], "not a model on the hub"),
        (["hf:team/model@none"], "no such revision"),
    ):
        done = process("model", "add", *wrong, environment=environment)
        assert done.code in (1, 2) and said in done.err and "Traceback" not in done.err, done.err


def test_a_template_is_shown_with_what_is_steered_and_read(empty: Path) -> None:
    shown = caa("model", "show", "demo", "--template")
    assert shown.code == 0, shown.err
    assert "(B) No<|end|>\u27e6<|assistant|>\u27e7(\u27eaA\u27eb)" in shown.out
    lines = shown.out.splitlines()
    assert [line.split()[-2:] for line in lines if line.endswith("first steered")] == [["first", "steered"]]
    assert any("'<|assistant|>'" in line and "first steered" in line for line in lines)
    assert any("'A'" in line and "read and scored" in line for line in lines)
    values = caa("model", "show", "demo", "--template", "--json").json
    assert values["text"] == "".join(token["text"] for token in values["tokens"])
    assert values["tokens"][values["first_steered"]]["text"] == "<|assistant|>"
    assert values["tokens"][values["read"]]["text"] == "A"
    assert (values["system_prompt"], values["differences"]) == ("system", [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gemma", "at the start of the first user message"),
        ("smolvlm", "as parts: assistant, system, user"),
        ("gpt-oss", "<|channel|>final<|message|\u27e6>\u27e7(\u27eaA\u27eb)"),
        ("deepseek-r1", "an opened thought is closed"),
        ("smollm3", "the date is fixed"),
        ("llama-3.1", "Today: 26 Jul 2024"),
    ],
)
def test_what_is_special_of_a_template_is_seen(tmp_path: Path, name: str, said: str) -> None:
    folder = build(tmp_path / "m", chat=SHAPES[name].template)
    shown = caa("--registry", tmp_path / "none.db", "model", "show", folder, "--template")
    assert shown.code == 0, shown.err
    assert said in shown.out
    assert not (tmp_path / "none.db").exists()


def test_a_template_that_is_refused_shows_what_it_wrote(tmp_path: Path) -> None:
    folder = build(tmp_path / "m", chat=SHAPES["silent"].template)
    shown = caa("model", "show", folder, "--template")
    assert (shown.code, shown.out) == (1, "")
    assert "it drops the question. It writes: '<|user|><|assistant|>'" in shown.err


def test_verify_finds_one_byte_under_a_restored_time(empty: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    assert caa("model", "add", folder).code == 0
    as_before = caa("model", "verify", "m", "--json")
    assert (as_before.code, as_before.json) == (
        0,
        {"name": "m", "parts": dict.fromkeys(("weights", "config", "tokenizer", "chat_template"), True), "ok": True},
    )
    path = folder / "model.safetensors"
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)  # the lowest bits of a float32, so that it stays a number
        byte = file.read(1)[0]
        file.seek(-4, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    damaged = caa("model", "verify", "m")
    assert damaged.code == 1
    assert [line.split() for line in damaged.out.splitlines() if "DIFFERS" in line] == [["weights", "DIFFERS"]]


def test_verify_says_that_the_same_tensors_lie_in_other_files(empty: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    assert caa("model", "add", folder).code == 0
    names = sorted(tensors := mx.load(str(folder / "model.safetensors")))
    mx.eval(tensors)
    for number in (0, 1):
        part = folder / f"model-0000{number + 1}-of-00002.safetensors"
        mx.save_safetensors(str(part), {name: tensors[name] for name in names[number::2]})
    (folder / "model.safetensors").unlink()
    verified = process("model", "verify", "m")
    assert verified.code == 0, verified.err
    assert "every tensor is the same" in verified.err
    (folder / "model.safetensors").write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    doubled = caa("model", "verify", "m")
    assert doubled.code == 1
    assert "is in both model-00001-of-00002.safetensors and model.safetensors" in doubled.err


@pytest.mark.parametrize("write", [of_mlx_lm, of_peft])
def test_an_adapter_makes_another_model_in_every_command(
    full: Path, tiny_folder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    adapter = write(tmp_path / "kind", tiny_folder)
    on_top = ("--model", tiny_folder, "--adapter", adapter)
    asked = ("next-token", "Is the sky blue?", "--json")
    plain = caa(*asked, "--model", tiny_folder).json
    assert caa(*asked, *on_top).json != plain
    # A vector of the model alone is of other weights, and the other way round.
    steered = ("generate", "Is it?", "--layer", "1", "--max-tokens", "2")
    refused = caa(*steered, "--vector", "team/s", *on_top)
    assert refused.code == 1 and "--allow-mismatch" in refused.err, refused.err
    assert caa(*steered, "--vector", "team/s", *on_top, "--allow-mismatch").code == 0
    assert caa("vector", "compute", "team/own", "--dataset", "team/s", *on_top).code == 0
    refused = caa(*steered, "--vector", "team/own", "--model", tiny_folder)
    assert refused.code == 1 and "--allow-mismatch" in refused.err, refused.err
    # What is recorded is loaded again with its adapter, where none is given.
    assert caa(*steered, "--vector", "team/own").code == 0
    measured = caa("eval", "propensity", "team/own", "--layers", "1", "--multipliers", "0,1", "--json")
    assert measured.code == 0, measured.err
    shown = caa("model", "show", f"{tiny_folder.name}+kind", "--json").json
    assert shown["adapter_path"] == str(adapter) and shown["adapter"].startswith("sha256:")
    assert caa("model", "verify", f"{tiny_folder.name}+kind", "--json").json["parts"]["adapter"] is True
    given = caa("model", "add", adapter)
    assert given.code == 1
    assert "is an adapter, not a model" in given.err and "some/base" in given.err and "--adapter" in given.err


def test_every_command_that_loads_a_model_takes_an_adapter() -> None:
    # These read a config and a tokenizer only, or search the catalogue.
    without = {"doctor", "dataset lint", "eval leaderboard", "vector ls"}

    def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
        found: dict[str, click.Command] = {}
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            found |= commands(command, f"{name} ") if isinstance(command, click.Group) else {before + name: command}
        return found

    with_model = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands(cli).items()
        if any("--model" in parameter.opts for parameter in command.params)
    }
    assert {name for name, options in with_model.items() if "--adapter" not in options} == without


def test_an_adapter_without_its_model_is_not_ignored(full: Path, tmp_path: Path) -> None:
    done = caa("eval", "merge", tmp_path / "shard", "--adapter", tmp_path)
    assert done.code == 2 and "no model is given" in done.err, done.err
