"""``caa push`` to the hub and ``caa pull`` from it, as two users at two machines."""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from cli.command_line import caa
from support.hub_server import TOKEN, HubServer, point_client_at

from caa_registry.errors import CaaError

REPO = "hf:ada/s"
LICENCES = ("--licence", "CC-BY-4.0", "--model-licence", "apache-2.0")


@pytest.fixture
def client(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    point_client_at(monkeypatch, hub.url, tmp_path / "hf", TOKEN)
    return hub


@pytest.fixture
def bob(tmp_path: Path) -> tuple[str, str]:
    """The options that name the registry of another user."""
    (tmp_path / "bob").mkdir()
    return "--registry", new_sqlite(tmp_path / "bob")


def test_what_one_pushes_another_pulls_and_applies(
    full: Path, client: HubServer, bob: tuple[str, str], tiny_folder: Path, tmp_path: Path
) -> None:
    assert caa("key", "new", tmp_path / "ada.pem").code == 0
    pushed = caa("push", "team/s:best", "--to", REPO, "--key", tmp_path / "ada.pem", *LICENCES)
    commit = client.repositories["ada/s"].names["main"]
    assert pushed.code == 0 and f"Pushed team/s:v1 to {REPO}, commit {commit}." in pushed.err
    assert "Licence of team/s:v1: CC-BY-4.0." in pushed.err and "Licence of the model" in pushed.err
    assert "Who made what is part of it:" in pushed.err and "It is signed by sha256:" in pushed.err
    taken = caa("pull", f"{REPO}@{commit}", *bob)
    assert taken.code == 0 and "vector team/s:v1 is here now" in taken.err and "(not trusted)" in taken.err
    assert caa("model", "add", tiny_folder, *bob).code == 0
    here, there = (
        caa("generate", "--vector", "team/s:best", "--max-tokens", "4", "Why?", *where).out for where in ((), bob)
    )
    assert here == there != ""
    digests = [caa("vector", "show", "team/s", "--json", *where).json["digest"] for where in ((), bob)]
    assert digests[0] == digests[1] and caa("fsck", *bob).code == 0
    files = dict(client.repositories["ada/s"].commits[commit])
    numbers = bytearray(files["vectors/team/s-v1.safetensors"])
    numbers[-1] ^= 1
    client.commit("ada/s", {**files, "vectors/team/s-v1.safetensors": bytes(numbers)})
    refused = caa("pull", REPO, *bob)
    assert refused.code == 1 and "vectors/team/s-v1.safetensors is not the file that SHA256SUMS names" in refused.err
    assert caa("pull", "--from", REPO, "--require-signature", "nobody", *bob).code == 1


def test_a_dry_run_shows_what_would_be_there(full: Path, client: HubServer) -> None:
    shown = caa("push", "team/s", "--to", REPO, "--dry-run", "--public", *LICENCES)
    assert shown.code == 0 and f"Nothing was sent. {REPO} would hold team/s:v1, for everybody:" in shown.err
    assert "pairs/team/s-v1/generate.jsonl" in shown.out and client.requests == []
    told = caa("push", "team/s", "--to", REPO, "--dry-run", "--no-pairs", "--json", *LICENCES[2:]).json
    assert (told["commit"], told["pairs"], told["public"], told["signed_by"]) == (None, False, False, None)
    assert {file["name"] for file in told["files"]} >= {"README.md", "SHA256SUMS", "vectors.json"}
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_a_licence_that_is_not_known_is_asked_for(
    full: Path, client: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = caa("push", "team/s", "--to", REPO)
    assert refused.code == 2 and "the licence of team/s:v1 is not known" in refused.err and "--licence" in refused.err

    def answering(*answers: str) -> None:
        typed = io.StringIO("".join(f"{answer}\n" for answer in answers))
        monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", typed)

    answering("MIT", "llama3.1")
    asked = caa("push", "team/s", "--to", REPO, "--dry-run", "--json")
    assert asked.code == 0 and "Licence of the pairs" in asked.err
    assert set(asked.json["licences"].values()) == {"MIT"} and set(asked.json["model_licences"].values()) == {
        "llama3.1"
    }
    answering("", "mit")
    assert caa("push", "team/s", "--to", REPO, "--dry-run", "--json").json["pairs"] is False


def test_what_does_not_fit_is_said(full: Path, client: HubServer, bob: tuple[str, str]) -> None:
    for command, said in (
        (("push", "team/s", "--to", bob[1], "--public"), "an option was given that only a push to the hub takes"),
        (("push", "dataset:team/s", "--to", REPO, *LICENCES), "caa dataset push team/s"),
        (("push", "team/s", "--to", "hf:nowhere", *LICENCES), "is not a hub source"),
        (("pull",), "nothing says where to pull from"),
        (("pull", "team/s"), "nothing says where to pull from"),
        (("pull", "team/s", "--from", bob[1], "--require-signature", "ada"), "caa verify"),
        (("pull", REPO), "no such model on the hub"),
    ):
        refused = caa(*command)
        assert refused.code in (1, 2) and said in " ".join(refused.err.split()) and "Traceback" not in refused.err


def test_the_token_appears_nowhere(
    full: Path, client: HubServer, bob: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nothing that is printed, kept or pushed, also where the hub fails."""
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    printed = []

    def run(*command: object) -> None:
        for extra in ((), ("--json",)):
            try:
                result = caa(*command, *extra)
            except CaaError:  # of --debug
                printed.append(traceback.format_exc())
            else:
                printed.append(result.out + result.err)

    run("remote", "add", "hub", REPO)
    run("push", "team/s:best", "--to", "hub", *LICENCES)
    run("push", "team/s:best", "--to", "hub", "--dry-run", *LICENCES)
    run("pull", REPO, *bob)
    run("remote", "ls")
    run("run", "ls")
    run("run", "show", "1", *bob)
    run("log")
    run("vector", "show", "team/s", "--card")
    run("lineage", "vector:team/s", *bob)
    run("vector", "lock", "team/s", "--out", tmp_path / "s.lock")
    run("bundle", "create", "team/s", "-o", tmp_path / "s.caa")
    run("doctor")
    for failing, breaking in ((401, None), (503, None), (None, 10)):
        client.failing, client.breaking = failing, breaking
        run("push", "team/s:best", "--to", "hub", "--debug", *LICENCES)
        run("pull", REPO, "--debug", *bob)
    client.failing = client.breaking = None
    assert len(printed) == 38 and "Pushed team/s:v1" in printed[2]
    assert not any(TOKEN in text for text in printed)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"full.db", "s.caa", "s.lock", "remotes.toml"} <= {path.name for path in kept}
    for path in kept:
        assert TOKEN.encode() not in path.read_bytes(), path
    for repository in client.repositories.values():
        for files in repository.commits.values():
            assert not any(TOKEN.encode() in data for data in files.values())
