"""Which split a row goes to: the one that it names, else that of its file, folder or shards."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped, unused-ignore]
import pytest
from support.hub_server import HubServer, point_client_at

from caa_registry.errors import HubError, InputError
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load

NONE = [None, None]


def rows(name: str, splits: list[str | None] | None = None) -> list[dict[str, Any]]:
    values = [{"prompt": f"{name} {i}?", "positive": "yes indeed", "negative": "not at all"} for i in (1, 2)]
    return [{**row, "split": split} for row, split in zip(values, splits, strict=True)] if splits else values  # type: ignore[dict-item]


def parquet(name: str, splits: list[str | None] | None = None) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    kinds = dict.fromkeys(("prompt", "positive", "negative"), pa.string())
    schema = pa.schema({**kinds, "split": pa.string()} if splits else kinds)
    pq.write_table(pa.Table.from_pylist(rows(name, splits) if name else [], schema), buffer)
    return buffer.getvalue()


def table(name: str, splits: list[str | None]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["prompt", "positive", "negative", "split"])
    writer.writeheader()
    writer.writerows(rows(name, splits))
    return text.getvalue().encode()


def lines(name: str, splits: list[str | None] | None = None) -> bytes:
    written = [{key: value for key, value in row.items() if value is not None} for row in rows(name, splits)]
    return "".join(json.dumps(row) + "\n" for row in written).encode()


def splits_of(source: str, **options: Any) -> dict[str, str]:
    return {item.pair.prompt: item.split for item in load(source, **options).items if isinstance(item, PairItem)}


@pytest.fixture
def client(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    point_client_at(monkeypatch, hub.url, tmp_path / "hf")
    return hub


def saved(parts: Mapping[str, list[dict[str, Any]]], folder: Path) -> str:
    kinds = datasets.Features(dict.fromkeys(("prompt", "positive", "negative", "split"), datasets.Value("string")))
    columns = {name: {kind: [row.get(kind) for row in part] for kind in kinds} for name, part in parts.items()}
    tables = {name: datasets.Dataset.from_dict(part, features=kinds) for name, part in columns.items()}
    datasets.DatasetDict(tables).save_to_disk(str(folder))
    return str(folder)


OF_FILES = {"train 1?": "generate", "train 2?": "generate", "test 1?": "test", "test 2?": "test"}


def test_rows_of_a_saved_folder_that_name_no_split_take_that_of_their_table(tmp_path: Path) -> None:
    source = saved({name: rows(name, NONE) for name in ("train", "test")}, tmp_path / "set")
    assert splits_of(source) == OF_FILES


@pytest.mark.parametrize(
    "files",
    [
        {"train.csv": table("train", NONE), "test.csv": table("test", NONE)},
        {"train.csv": table("train", [" ", ""]), "test.csv": table("test", ["", " "])},
        {f"data/{name}-00000-of-00001.parquet": parquet(name, NONE) for name in ("train", "test")},
        {"data/train.jsonl": lines("train"), "data/test.jsonl": lines("test", NONE)},
    ],
)
def test_rows_of_a_repository_that_name_no_split_take_that_of_their_file(
    client: HubServer, files: dict[str, bytes]
) -> None:
    client.commit("team/pairs", files)
    assert splits_of("hf:team/pairs") == OF_FILES


def test_a_row_keeps_the_split_that_it_names_wherever_it_stands(client: HubServer, tmp_path: Path) -> None:
    expected = {**OF_FILES, "train 2?": "dev"}
    client.commit("team/pairs", {"data/train.jsonl": lines("train", [None, "dev"]), "data/test.jsonl": lines("test")})
    assert splits_of("hf:team/pairs") == expected
    assert (
        splits_of(saved({"train": rows("train", [None, "dev"]), "test": rows("test", NONE)}, tmp_path / "set"))
        == expected
    )


@pytest.mark.parametrize(
    ("files", "split"),
    [
        ({"data/test-00000-of-00001.parquet": parquet("x")}, "test"),
        ({f"data/test-0000{i}-of-00002.parquet": parquet(f"x{i}") for i in (0, 1)}, "test"),
        ({"test.jsonl": lines("x")}, "test"),
        ({"data/validation.jsonl": lines("x")}, "validation"),
        ({"train.jsonl": lines("x")}, "generate"),
        ({"pairs.jsonl": lines("x")}, "generate"),
    ],
)
def test_a_repository_of_one_split_goes_to_the_split_that_its_files_are_named_after(
    client: HubServer, files: dict[str, bytes], split: str
) -> None:
    client.commit("team/pairs", files)
    assert set(splits_of("hf:team/pairs").values()) == {split}
    assert set(splits_of("hf:team/pairs", limit=1).values()) == {split}


def test_a_split_without_rows_is_left_out_with_a_note(client: HubServer, tmp_path: Path) -> None:
    folder = load(saved({"train": rows("train"), "test": []}, tmp_path / "set"))
    assert ({item.split for item in folder.items}, folder.notes) == ({"generate"}, ["the split test holds no rows"])
    client.commit(
        "team/pairs",
        {"data/train-00000-of-00001.parquet": parquet("train"), "data/test-00000-of-00001.parquet": parquet("")},
    )
    assert load("hf:team/pairs").notes == ["the split test holds no rows"]
    with pytest.raises(InputError, match="it holds no rows"):
        load(saved({"train": [], "test": []}, tmp_path / "empty"))


def test_a_shard_that_is_missing_is_named(client: HubServer) -> None:
    client.commit("team/pairs", {"data/train-00000-of-00002.parquet": parquet("x")})
    with pytest.raises(HubError, match=r"is not complete: it holds no train-00001-of-00002\.parquet") as caught:
        load("hf:team/pairs")
    assert "hf:team/pairs/data/train-00000-of-00002.parquet" in caught.value.hint
    assert len(load("hf:team/pairs/data/train-00000-of-00002.parquet").items) == 2


def test_with_the_hub_switched_off_a_note_says_which_files_are_known(
    client: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    client.commit("team/pairs", {"train.jsonl": lines("train"), "test.jsonl": lines("test")})
    client.commit("team/shards", {f"train-0000{i}-of-00002.parquet": parquet("x") for i in (0, 1)})
    load("hf:team/pairs/test.jsonl")
    load("hf:team/shards/train-00000-of-00002.parquet")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    try:
        imported = load("hf:team/pairs")
        with pytest.raises(HubError, match=r"train-00001-of-00002\.parquet was not downloaded before"):
            load("hf:team/shards")
    finally:
        close_session()
    assert {item.split for item in imported.items} == {"test"}
    assert imported.notes == [
        "HF_HUB_OFFLINE is set: only files that were downloaded before are known, here test.jsonl"
    ]
