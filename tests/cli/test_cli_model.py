"""``caa model``: from a hub, and how a template renders a conversation."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.command_line import caa, process
from support.chat_templates import SHAPES
from support.hub_server import HubServer, client_environment
from support.tiny_models import build


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
        ("gemma", "at the beginning of the user message"),
        ("smolvlm", "in parts: assistant, system, user"),
        ("gpt-oss", "<|channel|>final<|message|\u27e6>\u27e7(\u27eaA\u27eb)"),
        ("deepseek-r1", "the thought is closed"),
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
