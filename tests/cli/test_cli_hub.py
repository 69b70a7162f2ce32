"""``hf:`` imports by the command line: the commit is recorded and shown, the token nowhere."""

from __future__ import annotations

import json
from pathlib import Path

from cli.command_line import process
from registry.registry_support import dump, letters
from support.hub_server import TOKEN, HubServer, client_environment

ROWS = "".join(json.dumps(row) + "\n" for row in letters(3)).encode()


def test_one_file_of_a_hub_dataset_is_imported_at_its_commit(hub: HubServer, empty: Path, tmp_path: Path) -> None:
    hub.repository("team/evals", card={"license": "cc-by-4.0"})
    commit = hub.commit("team/evals", {"a/one.jsonl": ROWS, "b/two.jsonl": b"[]", "README.md": b""})
    environment = client_environment(hub.url, tmp_path / "hf")
    done = process("dataset", "import", "hf:team/evals", "--name", "t/e", environment=environment)
    assert done.code == 1 and "holds 2 data files" in done.err and "hf:team/evals/a/one.jsonl" in done.err
    done = process("dataset", "import", "hf:team/evals@main/a/one.jsonl", "--name", "t/e", environment=environment)
    assert done.code == 0 and done.err.splitlines()[0] == "Imported 3 pairs as t/e:v1 (generate 3).", done.err
    shown = process("dataset", "show", "t/e").out
    assert commit in shown and "cc-by-4.0" in shown and "hf:team/evals@main/a/one.jsonl" in shown
    source = process("dataset", "show", "t/e", "--json").json["source"]
    assert (source["repo"], source["revision"], source["files"][0]["name"]) == ("team/evals", commit, "a/one.jsonl")


def test_a_private_dataset_needs_the_token_which_is_kept_nowhere(hub: HubServer, empty: Path, tmp_path: Path) -> None:
    hub.repository("team/secret", private=True)
    hub.commit("team/secret", {"pairs.jsonl": ROWS})
    without = client_environment(hub.url, tmp_path / "none")
    done = process("dataset", "import", "hf:team/secret", "--name", "t/s", environment={**without, "HF_TOKEN": ""})
    assert done.code == 1 and "HF_TOKEN" in done.err and "Traceback" not in done.err
    wrong = client_environment(hub.url, tmp_path / "wrong", "hf_wrong_one")
    refused = process("dataset", "import", "hf:team/secret", "--name", "t/s", environment=wrong)
    assert refused.code == 1 and "hf_wrong_one" not in refused.out + refused.err
    assert process("dataset", "ls", "--json").json == []
    environment = client_environment(hub.url, tmp_path / "hf", TOKEN)
    done = process("dataset", "import", "hf:team/secret", "--name", "t/s", "--json", environment=environment)
    assert done.code == 0 and done.json["pairs"] == 3
    everything = repr(dump(f"sqlite:///{empty}")) + done.out + done.err + process("lineage", "t/s", "--json").out
    assert TOKEN not in everything
    assert TOKEN.encode() not in empty.read_bytes()


def test_a_hub_out_of_reach_is_said(empty: Path, hub: HubServer, tmp_path: Path) -> None:
    offline = {**client_environment(hub.url, tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = process("dataset", "import", "hf:team/evals", "--name", "t/e", environment=offline)
    assert done.code == 1 and "HF_HUB_OFFLINE" in done.err and "Traceback" not in done.err
    hub.failing = 503
    failing = client_environment(hub.url, tmp_path / "hf")
    done = process("dataset", "import", "hf:team/evals", "--name", "t/e", environment=failing)
    assert done.code == 1 and "HTTP 503" in done.err
    assert process("dataset", "ls", "--json").json == []
