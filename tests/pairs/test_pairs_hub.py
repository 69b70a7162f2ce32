"""Hub datasets, against a hub on this machine: what is read is one commit, and refusals are said in words."""

from __future__ import annotations

import gzip
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.hub_server import TOKEN, HubServer, client_environment, point_client_at

from caa_registry.digests import digest_bytes
from caa_registry.errors import HubError, InputError, UsageError
from caa_registry.hub.client import check_endpoint
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load, load_splits
from caa_registry.pairs.sources.hub import parse_hub


def jsonl(*prompts: str) -> bytes:
    rows = [{"prompt": prompt, "positive": "(A)", "negative": "(B)"} for prompt in prompts]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(*prompts: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sides = {"positive": ["(A)"] * len(prompts), "negative": ["(B)"] * len(prompts)}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"prompt": list(prompts), **sides}), buffer)
    return buffer.getvalue()


@pytest.fixture
def client(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    point_client_at(monkeypatch, hub.url, tmp_path / "hf")
    return hub


def prompts(source: str) -> list[str]:
    return [item.pair.prompt for item in load(source).items if isinstance(item, PairItem)]


@pytest.mark.parametrize(
    ("source", "repo", "revision", "file"),
    [
        ("hf:team/pairs", "team/pairs", None, None),
        ("hf:team/pairs@v1.0", "team/pairs", "v1.0", None),
        ("hf:team/pairs/a/b.jsonl", "team/pairs", None, "a/b.jsonl"),
        ("hf:team/pairs@main/a/b@c.jsonl", "team/pairs", "main", "a/b@c.jsonl"),
        ("hf:team/pairs@refs/convert/parquet/d/0.parquet", "team/pairs", "refs/convert/parquet", "d/0.parquet"),
        ("hf:team/pairs@feature%2Fx/a.csv", "team/pairs", "feature/x", "a.csv"),
    ],
)
def test_a_hub_source_is_taken_apart(source: str, repo: str, revision: str | None, file: str | None) -> None:
    parsed = parse_hub(source)
    assert (parsed.repo, parsed.revision, parsed.file) == (repo, revision, file)


@pytest.mark.parametrize("source", ["hf:", "hf:squad", "hf:a/b@", "hf:a/b/", "hf:a/b/../c", "hf:../b", "hf:a/b//c"])
def test_what_is_no_hub_source_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match="not a hub source"):
        load(source)


def test_a_branch_is_recorded_as_its_commit(client: HubServer) -> None:
    client.repository("team/pairs", card={"license": "cc-by-4.0"})
    commit = client.commit("team/pairs", {"README.md": b"# x", "pairs.jsonl": jsonl("one", "two")})
    imported = load("hf:team/pairs", split="test")
    assert imported.source.to_json() == {
        "uri": "hf:team/pairs",
        "format": "jsonl",
        "files": [{"name": "pairs.jsonl", "digest": digest_bytes(jsonl("one", "two")), "split": "test", "rows": 2}],
        "split": "test",
        "repo": "team/pairs",
        "revision": commit,
    }
    assert imported.licence == "cc-by-4.0"
    assert "HEAD /datasets/team/pairs/resolve/main/pairs.jsonl" in client.requests


def test_a_moved_branch_gives_its_new_commit_and_the_old_commit_stays(client: HubServer) -> None:
    first = client.commit("team/pairs", {"pairs.jsonl": jsonl("one")})
    client.tag("team/pairs", "v1", first)
    assert prompts("hf:team/pairs@main") == ["one"]
    second = client.commit("team/pairs", {"pairs.jsonl": jsonl("two")})
    moved = load("hf:team/pairs@main")
    assert moved.source.revision == second != first
    assert prompts("hf:team/pairs") == ["two"]
    assert prompts("hf:team/pairs@v1") == prompts(f"hf:team/pairs@{first}/pairs.jsonl") == ["one"]


def test_one_of_many_files_is_named(client: HubServer) -> None:
    files = {f"part{n}/pairs.jsonl": jsonl(f"prompt {n}") for n in range(25)}
    client.commit("team/pairs", {"notes.txt": b"x", **files})
    assert prompts("hf:team/pairs/part7/pairs.jsonl") == ["prompt 7"]
    with pytest.raises(HubError, match="holds 25 data files") as caught:
        load("hf:team/pairs")
    assert "hf:team/pairs/part0/pairs.jsonl" in caught.value.hint and "and 5 more" in caught.value.hint
    assert "notes.txt" not in caught.value.hint
    with pytest.raises(HubError, match=r"no file 'part99\.jsonl'") as caught:
        load("hf:team/pairs/part99.jsonl")
    assert "part0/pairs.jsonl" in caught.value.hint


def test_splits_come_from_two_files_of_one_commit(client: HubServer) -> None:
    commit = client.commit("team/pairs", {"a.jsonl": jsonl("one"), "b.jsonl": jsonl("two")})
    imported = load_splits({"generate": "hf:team/pairs/a.jsonl", "test": "hf:team/pairs/b.jsonl"})
    assert [item.split for item in imported.items] == ["generate", "test"]
    assert (imported.source.repo, imported.source.revision) == ("team/pairs", commit)


def test_the_shards_of_one_split_are_read_together(client: HubServer) -> None:
    shards = {"data/train-00000-of-00002.parquet": parquet("one", "two"),
              "data/train-00001-of-00002.parquet": parquet("three")}  # fmt: skip
    client.commit("team/pairs", {"README.md": b"", **shards})
    imported = load("hf:team/pairs")
    assert [item.pair.prompt for item in imported.items if isinstance(item, PairItem)] == ["one", "two", "three"]
    assert [(file.name, file.digest, file.rows) for file in imported.source.files] == [
        (name, digest_bytes(data), rows) for (name, data), rows in zip(shards.items(), (2, 1), strict=True)
    ]
    assert [item.metadata["row"] for item in imported.items] == [1, 2, 3]
    assert {request.split()[1].split("/")[1] for request in client.requests} == {"api", "datasets"}
    assert sum(request.startswith("GET /api/datasets/") for request in client.requests) == 1


def test_a_repository_with_files_for_its_splits_is_one_import(client: HubServer) -> None:
    files = {
        "data/test-00000-of-00001.parquet": parquet("four"),
        "data/train-00000-of-00002.parquet": parquet("one", "two"),
        "data/train-00001-of-00002.parquet": parquet("three"),
    }
    beside = {"dataset_infos.json": b"{}", ".gitattributes": b"", "README.md": b"# x", ".cache/x.json": b"[]"}
    client.commit("team/pairs", {**files, **beside})
    imported = load("hf:team/pairs")
    found = [(item.split, item.pair.prompt) for item in imported.items if isinstance(item, PairItem)]
    assert found == [("test", "four"), ("generate", "one"), ("generate", "two"), ("generate", "three")]
    assert [(file.name, file.split, file.rows) for file in imported.source.files] == [
        (name, split, rows)
        for name, split, rows in zip(files, ("test", "generate", "generate"), (1, 2, 1), strict=True)
    ]
    assert prompts("hf:team/pairs/data/test-00000-of-00001.parquet") == ["four"]
    with pytest.raises(UsageError, match="has the splits test, train"):
        load("hf:team/pairs", split="generate")


def test_splits_are_read_in_other_formats_and_compressed(client: HubServer) -> None:
    client.commit(
        "team/pairs", {"train.jsonl.gz": gzip.compress(jsonl("one")), "test.jsonl.gz": gzip.compress(jsonl("two"))}
    )
    assert [item.split for item in load("hf:team/pairs").items] == ["test", "generate"]


def test_files_of_several_folders_have_to_be_chosen(client: HubServer) -> None:
    client.commit("team/pairs", {f"{name}/train-00000-of-00001.parquet": parquet(name) for name in ("de", "en")})
    with pytest.raises(HubError, match="holds 2 data files"):
        load("hf:team/pairs")


def test_an_incomplete_set_of_shards_is_not_taken_for_the_whole(client: HubServer) -> None:
    client.commit("team/pairs", {f"train-0000{n}-of-00003.parquet": parquet("x") for n in (0, 2)})
    with pytest.raises(HubError, match=r"holds no train-00001-of-00003\.parquet"):
        load("hf:team/pairs")


def test_no_token_goes_over_plain_http_to_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_client_at(monkeypatch, "http://hub.invalid", tmp_path, TOKEN)
    with pytest.raises(HubError, match="over plain http") as caught:
        load("hf:team/secret")
    assert "https" in caught.value.hint and TOKEN not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text(TOKEN)
    with pytest.raises(HubError, match="over plain http"):
        check_endpoint("a model")
    (tmp_path / "token").unlink()
    check_endpoint("a model")


def test_a_private_dataset_needs_the_token_of_the_environment(
    client: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.repository("team/secret", private=True)
    client.commit("team/secret", {"pairs.jsonl": jsonl("one")})
    with pytest.raises(HubError, match="no such dataset on the hub, or it is private") as caught:
        load("hf:team/secret")
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    imported = load("hf:team/secret")
    assert len(imported.items) == 1
    assert TOKEN not in json.dumps(imported.source.to_json())
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError) as caught:
        load("hf:team/secret")
    assert "hf_wrong" not in str(caught.value)


def test_a_gated_dataset_says_that_its_terms_wait(client: HubServer) -> None:
    client.repository("team/gated", gated=True)
    client.commit("team/gated", {"pairs.jsonl": jsonl("one")})
    with pytest.raises(HubError, match="access to the dataset has to be granted"):
        load("hf:team/gated")


def test_an_unknown_revision_is_named(client: HubServer) -> None:
    client.commit("team/pairs", {"pairs.jsonl": jsonl("one")})
    for revision in ("nowhere", "0" * 40):
        with pytest.raises(HubError, match=f"hf:team/pairs@{revision}: there is no such revision"):
            load(f"hf:team/pairs@{revision}")


def test_a_repository_without_data_files_lists_what_it_has(client: HubServer) -> None:
    client.commit("team/pairs", {"README.md": b"", "pairs.txt": b"x"})
    with pytest.raises(HubError, match="holds no JSONL") as caught:
        load("hf:team/pairs")
    assert "pairs.txt" in caught.value.hint


def test_a_bad_row_on_the_hub_names_file_and_row(client: HubServer) -> None:
    client.commit("team/pairs", {"deep/pairs.jsonl": jsonl("one") + b'{"prompt": 1}\n'})
    with pytest.raises(InputError, match=r"hf:team/pairs/deep/pairs.jsonl, row 2, field 'prompt'"):
        load("hf:team/pairs")


@pytest.mark.parametrize("status", [500, 503, 403, 429])
def test_a_hub_that_fails_is_a_hub_error(client: HubServer, status: int) -> None:
    client.failing = status
    with pytest.raises(HubError, match=f"HTTP {status}"):
        load("hf:team/pairs")


def test_a_hub_that_talks_nonsense_is_a_hub_error(client: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    for error in (KeyError("id"), ValueError("no JSON"), TypeError("x")):

        def nonsense(self: object, *args: object, error: Exception = error, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", nonsense)
        with pytest.raises(HubError, match="answer cannot be used"):
            load("hf:team/pairs")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_hub_is_said_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_client_at(monkeypatch, f"http://127.0.0.1:{closed_port()}", tmp_path)
    start = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached") as caught:
        load("hf:team/pairs")
    assert time.monotonic() - start < 5
    assert "HF_ENDPOINT" in caught.value.hint


def test_offline_mode_is_named(client: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    try:
        with pytest.raises(HubError, match="switched off") as caught:
            load("hf:team/pairs")
    finally:
        close_session()
    assert "HF_HUB_OFFLINE" in caught.value.hint


def test_the_environment_alone_points_a_fresh_process_at_a_hub(hub: HubServer, tmp_path: Path) -> None:
    hub.repository("team/pairs", private=True)
    commit = hub.commit("team/pairs", {"pairs.jsonl": jsonl("one")})
    code = "from caa_registry.pairs.sources import load; print(load('hf:team/pairs').source.revision)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=client_environment(hub.url, tmp_path / "hf", TOKEN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == commit, done.stderr
    assert (tmp_path / "hf" / "hub").is_dir()
