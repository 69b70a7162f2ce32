"""Datasets between a registry and a hub: commits recorded, failures without a trace, what is pushed comes back."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs.test_pairs_mappings import MMLU, parquet
from registry.registry_support import dump, events, jsonl, letters
from support.hub_server import TOKEN, HubServer, point_client_at

from caa_registry.errors import HubError, UsageError
from caa_registry.pairs.curation.operations import Filter, Relabel
from caa_registry.pairs.record import Imported, Pair, PairItem
from caa_registry.pairs.source import Source
from caa_registry.registry.registry import Registry


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        point_client_at(monkeypatch, server.url, tmp_path / "hf", TOKEN)
        yield server


def lines(n: int, about: str = "it") -> bytes:
    return "\n".join(json.dumps(row) for row in letters(n, about=about)).encode()


def url(tmp_path: Path) -> str:
    (path,) = tmp_path.glob("*.db")
    return f"sqlite:///{path}"


def test_a_moved_branch_makes_a_second_version(registry: Registry, hub: HubServer) -> None:
    file = "all/test-00000-of-00001.parquet"
    first = hub.commit("cais/mmlu", {file: parquet(MMLU)})
    one = registry.datasets.import_("hf:cais/mmlu", name="team/mmlu")
    assert one.source.revision == first and one.source.mapping["name"] == "mmlu"
    second = hub.commit("cais/mmlu", {file: parquet([*MMLU[1:], {**MMLU[0], "question": "And 0 plus 0?"}])})
    two = registry.datasets.import_("hf:cais/mmlu", name="team/mmlu")
    assert (two.reference, two.source.revision) == ("team/mmlu:v2", second)
    found = registry.datasets.diff(one, two)
    assert (found.unchanged, len(found.changes) + len(found.added)) == (39, 1)
    again = registry.datasets.import_(f"hf:cais/mmlu@{first}", name="team/mmlu")
    assert again.existing and again.reference == "team/mmlu:v1"
    # A recipe reads the commit that was read, wherever the branch is now.
    assert all(step.same for step in registry.datasets.replay(one, from_source=True))


@pytest.mark.long
@pytest.mark.parametrize("limit", [None, 4])
def test_a_connection_that_breaks_leaves_nothing(
    registry: Registry, hub: HubServer, tmp_path: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit("team/pairs", {"pairs.jsonl": lines(400)})
    before = dump(url(tmp_path))
    hub.breaking = 1000
    with pytest.raises(HubError):
        registry.datasets.import_("hf:team/pairs", name="team/a", limit=limit)
    assert dump(url(tmp_path)) == before
    hub.breaking = None
    assert registry.datasets.import_("hf:team/pairs", name="team/a", limit=limit).n_items == (limit or 400)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_of_a_large_file_only_the_beginning_is_downloaded(registry: Registry, hub: HubServer, name: str) -> None:
    chance = random.Random(1)
    rows = [{**row, "noise": "".join(chance.choices("abcdefghijklmnop", k=2000))} for row in letters(4000)]
    # Of a table at least a whole row group is read.
    data = "\n".join(map(json.dumps, rows)).encode() if name.endswith("jsonl") else parquet(rows, row_group_size=200)
    commit = hub.commit("team/large", {name: data})
    found = registry.datasets.import_("hf:team/large", name="team/large", limit=20)
    assert (found.n_items, found.source.limit, found.source.revision) == (20, 20, commit)
    assert 0 < hub.sent[name] < 0.6 * len(data)
    assert registry.datasets.pairs(found)[19].pair.prompt == rows[19]["prompt"]
    assert all(step.same for step in registry.datasets.replay(found, from_source=True))


def test_what_was_downloaded_is_read_offline(
    registry: Registry, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    commit = hub.commit("team/pairs", {"pairs.jsonl": lines(4), "other.jsonl": lines(2)})
    online = registry.datasets.import_("hf:team/pairs/pairs.jsonl", name="team/a")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    hub.failing = 500
    for revision in ("", "@main", f"@{commit}"):
        offline = registry.datasets.import_(f"hf:team/pairs{revision}/pairs.jsonl", name="team/offline")
        assert (offline.digest, offline.source.revision) == (online.digest, commit)
    for source in ("hf:team/pairs@other/pairs.jsonl", "hf:team/nothing"):
        with pytest.raises(HubError, match="switched off"):
            registry.datasets.import_(source, name="team/b")
    with pytest.raises(HubError, match="there is no file"):
        registry.datasets.import_("hf:team/pairs/other.jsonl", name="team/b")
    close_session()


def test_what_is_pushed_comes_back(registry: Registry, hub: HubServer, tmp_path: Path) -> None:
    sources = {s: jsonl(tmp_path / f"{s}.jsonl", letters(n, about=s)) for s, n in (("generate", 6), ("test", 4))}
    registry.datasets.import_(sources, name="team/a", licence="MIT", behavior="liking")
    version = registry.datasets.curate(Relabel("the other way round"), "team/a").version
    assert version is not None
    registry.datasets.lint(version)
    done = registry.datasets.push(version, "hf:team/shared")
    repository = hub.repositories["team/shared"]
    assert repository.private and repository.names["main"] == done.commit
    files = repository.commits[done.commit]
    assert set(files) == {".gitattributes", "README.md", "data/generate.jsonl", "data/test.jsonl"}
    text = files["README.md"].decode()
    for said in (
        "license: mit",
        version.digest,
        "liking",
        "Relabel (why: the other way round)",
        "path: data/test.jsonl",
        "Score",
    ):
        assert said in text
    assert str(tmp_path) not in text
    back = registry.datasets.import_("hf:team/shared", name="team/back")
    assert (back.digest, back.splits) == (version.digest, {"generate": 6, "test": 4})
    # A version with fewer splits takes the place of all of it.
    small = registry.datasets.curate(Filter("split == 'test'"), version).version
    assert small is not None
    registry.datasets.push(small, "hf:team/shared")
    assert registry.datasets.import_("hf:team/shared", name="team/back").digest == small.digest
    # On a branch that is made for it there are both splits again.
    registry.datasets.push(version, "hf:team/shared@both/splits")
    assert registry.datasets.import_("hf:team/shared@both%2Fsplits", name="team/branch").digest == version.digest
    assert registry.datasets.import_("hf:team/shared", name="team/back").digest == small.digest
    subject = next(said for action, said in events(registry) if action == "push")
    assert subject["commit"] == done.commit and subject["dataset"] == version.reference


def test_a_push_that_fails_records_nothing(registry: Registry, hub: HubServer, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(4)), name="team/a")
    before = dump(url(tmp_path))
    with pytest.raises(UsageError, match="licence of team/a:v1 is unknown"):
        registry.datasets.push("team/a", "hf:team/shared", public=True)
    with pytest.raises(UsageError, match="is not a place on the hub"):
        registry.datasets.push("team/a", "team/shared")
    assert hub.repositories == {}
    hub.breaking = 0
    with pytest.raises(HubError):
        registry.datasets.push("team/a", "hf:team/shared")
    assert all(set(files) == {".gitattributes"} for files in hub.repositories["team/shared"].commits.values())
    assert dump(url(tmp_path)) == before
    hub.breaking = None
    assert registry.datasets.push("team/a", "hf:team/shared", licence="CC0-1.0").commit
    hub.repository("team/shared", private=False)
    with pytest.raises(UsageError, match="hf:team/shared is public, and everybody would see"):
        registry.datasets.push("team/a", "hf:team/shared", licence="CC0-1.0")
    assert registry.datasets.push("team/a", "hf:team/shared", public=True, licence="CC0-1.0").commit


def test_the_token_is_kept_nowhere(
    registry: Registry, hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.repository("team/private", private=True)
    hub.commit("team/private", {"pairs.jsonl": lines(4)})
    registry.datasets.import_("hf:team/private", name="team/a")
    registry.datasets.push("team/a", "hf:team/private")
    assert TOKEN not in str(dump(url(tmp_path))) and TOKEN not in caplog.text
    (path,) = tmp_path.glob("*.db")
    assert TOKEN.encode() not in path.read_bytes()
    commits = hub.repositories["team/private"].commits.values()
    assert not any(TOKEN.encode() in data for files in commits for data in files.values())


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, min_size=1, max_size=20).filter(str.strip)
METADATA = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4),
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT | st.lists(TEXT, max_size=2),
    max_size=3,
)
ITEM = st.builds(
    lambda prompt, positive, system, split, metadata: PairItem(
        Pair(prompt, positive, f"{positive}, not", system), split, metadata
    ),
    TEXT | st.just(""),
    TEXT,
    TEXT | st.just(""),
    st.sampled_from(["generate", "test", "dev"]),
    METADATA,
)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(items=st.lists(ITEM, min_size=1, max_size=6))
def test_an_export_is_imported_as_the_same_dataset(
    registry: Registry, tmp_path: Path, suffix: str, items: list[PairItem]
) -> None:
    imported = Imported("pairs", items, Source("x", "jsonl"))
    version = registry.datasets.register(imported, name="team/a")
    path = registry.datasets.export(version, tmp_path / f"out.{suffix}", force=True)
    back = registry.datasets.import_(str(path), name="team/back")
    assert back.digest == version.digest
    read = [{**item.metadata} for item in registry.datasets.pairs(back)]
    wanted = [dict(item.metadata) for item in registry.datasets.pairs(version)]
    assert [{k: v for k, v in row.items() if k not in ("row", "choices")} for row in read] == wanted


def test_the_layout_of_the_paper_and_datasets(registry: Registry, tmp_path: Path) -> None:
    import datasets

    sources = {s: jsonl(tmp_path / f"{s}.jsonl", letters(n, about=s)) for s, n in (("generate", 6), ("test", 4))}
    version = registry.datasets.import_(sources, name="team/liking")
    folder = registry.datasets.export(version, tmp_path / "caa", format="caa")
    read = {
        "generate": str(folder / "generate" / "liking" / "generate_dataset.json"),
        "test": str(folder / "test" / "liking" / "test_dataset_ab.json"),
    }
    assert registry.datasets.import_(read, name="team/back").digest == version.digest
    questions = registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
    asked = registry.datasets.export(questions, tmp_path / "asked", format="caa")
    (file,) = asked.rglob("*.json")
    assert file.name == "test_dataset_open_ended.json"
    assert registry.datasets.import_(str(file), name="team/q2").digest == questions.digest
    for suffix in ("jsonl", "csv", "parquet"):
        path = registry.datasets.export(questions, tmp_path / f"q.out.{suffix}")
        assert registry.datasets.import_(str(path), name="team/q3").digest == questions.digest

    stored = datasets.load_from_disk(str(registry.datasets.export(version, tmp_path / "hf-set", format="datasets")))
    assert {split: len(rows) for split, rows in stored.items()} == {"generate": 6, "test": 4}
    assert registry.datasets.to_datasets(version)["test"][0] == stored["test"][0]
    assert stored["test"][0]["prompt"] == letters(1, about="test")[0]["prompt"]


def test_an_export_replaces_nothing_unasked(registry: Registry, tmp_path: Path) -> None:
    version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(4)), name="team/a", split="dev")
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    for path, format in ((target, None), (tmp_path / "x.txt", None), (tmp_path / "no" / "x.csv", None),
                         (tmp_path / "caa", "caa"), (tmp_path / "y", "xml")):  # fmt: skip
        with pytest.raises(UsageError):
            registry.datasets.export(version, path, format=format)
    assert target.read_text() == "mine"
    made = {path.name for path in tmp_path.iterdir()} & {"x.txt", "no", "caa", "y"}
    assert made == set() and not list(tmp_path.glob(".*"))
    registry.datasets.export(version, target, force=True)
    assert target.read_text().count("\n") == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for format, force in (("datasets", False), ("jsonl", False), ("jsonl", True)):
        with pytest.raises(UsageError, match="is a folder"):
            registry.datasets.export(version, tmp_path / "mine", format=format, force=force)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    for _ in range(2):
        registry.datasets.export(version, tmp_path / "mine", format="datasets", force=True)
        assert (tmp_path / "mine" / "dataset_dict.json").is_file()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
