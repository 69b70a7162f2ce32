"""Locks: written, read from anybody, and followed in another registry."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catalog.registry_fixtures import new_sqlite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry.registry_support import check_consistent, counts, events, jsonl, letters
from registry.test_registry_verification import changed_template, changed_weight
from support.adapters import of_mlx_lm

from caa_registry.digests import digest_bytes
from caa_registry.errors import CaaError, InputError, ModelMismatchError, NotFoundError, UsageError
from caa_registry.pairs.curation.operations import Split
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import Lock
from caa_registry.registry.records.lock_text import canonical
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.locks import read_lock

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.registry.records import DatasetVersion, VectorVersion


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    """A model of the test's own, which it may damage."""
    return Path(shutil.copytree(tiny.folder("llama"), tmp_path / "model"))


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, folder: Path) -> VectorVersion:
    return registry.vectors.compute("team/vector", dataset=pairs, model=folder, layers=[0, 2])


@pytest.fixture
def lock(registry: Registry, version: VectorVersion) -> Lock:
    return registry.vectors.lock(version)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Registry]:
    """Another, empty registry."""
    (tmp_path / "elsewhere").mkdir()
    with open_registry(new_sqlite(tmp_path / "elsewhere"), actor="bob", create=False) as opened:
        yield opened


def test_a_lock_is_followed_in_an_empty_registry(
    registry: Registry, version: VectorVersion, lock: Lock, elsewhere: Registry, folder: Path
) -> None:
    followed = elsewhere.vectors.compute_locked(lock, model=folder, fresh=True)
    assert followed.found.holds and followed.found.same_bits and not followed.found.environment
    there = followed.version
    assert there is not None and followed.dataset is not None
    assert (there.reference, there.digest, there.dataset_digest) == (
        version.reference, version.digest, version.dataset_digest,
    )  # fmt: skip
    # All splits are there, in their order, and where they come from.
    for split in ("generate", "test"):
        assert elsewhere.datasets.pairs(followed.dataset, split) == registry.datasets.pairs("team/pairs", split)
    assert followed.dataset.source == registry.datasets.get("team/pairs").source
    assert elsewhere.vectors.verify(there, recompute=True).holds and elsewhere.fsck().faults == ()
    check_consistent(elsewhere)
    imported, computed = events(elsewhere)[:2]
    assert (imported[0], computed[0]) == ("import", "compute")
    runs = {each.run.kind: each.run.parameters for each in elsewhere.runs.ls()}
    assert runs["compute"]["lock"] == runs["import"]["lock"] == lock.digest
    # Again: what is there is found, and no dataset is stored twice.
    again = elsewhere.vectors.compute_locked(lock, "team/vector")
    assert again.version is not None and again.version.existing and len(elsewhere.datasets.ls()) == 1


def test_a_lock_is_written_and_followed_in_either_database(lock: Lock, folder: Path, url: str) -> None:
    with open_registry(url, actor="bob", create=False) as other:
        followed = other.vectors.compute_locked(lock, model=folder)
        assert followed.version is not None and followed.version.digest == lock.version_digest
        again = other.vectors.lock(followed.version)
        assert (again.layers, again.dataset, again.model) == (lock.layers, lock.dataset, lock.model)


def test_the_text_says_nothing_of_this_machine_and_reads_back(lock: Lock, folder: Path, tmp_path: Path) -> None:
    text = lock.to_text()
    assert Lock.from_text(text) == lock and text.isascii() and text.count("\n") == 1
    # The pairs' source is named as it was given; of the model only the name of its folder is.
    assert str(tmp_path) not in json.dumps([lock.model.to_json(), lock.environment]) and lock.model.name == folder.name
    # What called the computation, such as a git repository, is no part of it.
    assert set(lock.environment) == {"platform", "machine", "python", "packages", "device", "blas"}
    values = json.loads(text)
    assert values["schema"] == "caa-registry/lock/v1" and values["environment"]["packages"]["mlx"]
    assert len(values["dataset"]["pairs"]) == 8 and values["dataset"]["recipe"]["steps"]


def test_pairs_that_are_there_under_another_name_are_used(
    lock: Lock, elsewhere: Registry, folder: Path, registry: Registry
) -> None:
    items = registry.datasets.pairs("team/pairs")
    rows = [{"prompt": i.pair.prompt, "positive": i.pair.positive, "negative": i.pair.negative} for i in items]
    parts = {"generate": rows[:4], "test": rows[4:]}
    sources = {split: jsonl(folder.parent / f"{split}.own.jsonl", part) for split, part in parts.items()}
    own = elsewhere.datasets.import_(sources, name="other/pairs")
    followed = elsewhere.vectors.compute_locked(lock, "other/vector", model=folder)
    assert followed.dataset is not None and followed.dataset.reference == own.reference
    assert followed.version is not None and followed.version.reference == "other/vector:v1"


def test_a_curated_set_comes_along_though_its_sources_are_not_there(
    registry: Registry, elsewhere: Registry, tmp_path: Path, folder: Path
) -> None:
    whole = registry.datasets.import_(jsonl(tmp_path / "all.jsonl", letters(8)), name="team/all")
    cut = registry.datasets.curate(Split(test=0.25), whole).version
    assert cut is not None
    version = registry.vectors.compute("team/cut", dataset=cut, model=folder)
    lock = Lock.from_text(registry.vectors.lock(version).to_text())
    assert lock.dataset.recipe is not None
    assert [step.get("operation") for step in lock.dataset.recipe["steps"]] == [None, "split"]
    followed = elsewhere.vectors.compute_locked(lock, model=folder)
    assert followed.version is not None and followed.version.digest == version.digest and followed.dataset is not None
    assert followed.dataset.source.format == "lock" and followed.dataset.source.files[0].digest == lock.digest
    assert elsewhere.datasets.card(followed.dataset) and elsewhere.datasets.recipe(followed.dataset)
    assert elsewhere.fsck().faults == ()


@pytest.mark.parametrize(
    ("change", "named"), [(changed_weight, "the weights"), (changed_template, "the chat template")]
)
def test_another_model_is_refused_with_what_differs(
    lock: Lock, elsewhere: Registry, folder: Path, change: Callable[[Path], None], named: str
) -> None:
    change(folder)
    before = counts(elsewhere)
    with pytest.raises(ModelMismatchError, match=named):
        elsewhere.vectors.compute_locked(lock, model=folder)
    with pytest.raises(UsageError, match="is on no hub") as error:
        elsewhere.vectors.compute_locked(lock)
    assert "--model FOLDER" in error.value.hint and counts(elsewhere) == before


def test_an_adapter_is_part_of_the_model(
    registry: Registry, pairs: DatasetVersion, elsewhere: Registry, folder: Path, tmp_path: Path
) -> None:
    adapter = of_mlx_lm(tmp_path / "kind", folder)
    adapted = registry.models.load(folder, adapter=adapter)
    lock = registry.vectors.lock(registry.vectors.compute("team/adapted", dataset=pairs, model=adapted))
    with pytest.raises(ModelMismatchError, match="the adapter"):
        elsewhere.vectors.compute_locked(lock, model=folder)
    assert elsewhere.vectors.compute_locked(lock, model=folder, adapter=adapter).found.same_bits


def test_weights_in_other_files_are_the_same_model(
    lock: Lock, elsewhere: Registry, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import mlx.core as mx

    weights = dict(mx.load(str(folder / "model.safetensors")))
    mx.eval(weights)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:5], names[5:]), 1):
        path = folder / f"model-0000{number}-of-00002.safetensors"
        mx.save_safetensors(str(path), {name: weights[name] for name in part}, {"format": "pt"})
    followed = elsewhere.vectors.compute_locked(lock, model=folder)
    assert followed.found.same_bits and "every tensor is the same" in caplog.text
    assert followed.version is not None and followed.version.digest != lock.version_digest


def shifted(lock: Lock, by: float) -> Lock:
    """A lock, right in itself, of numbers that are off."""

    def change(values: dict[str, Any]) -> None:
        for layer in values["vector"]["layers"]:
            numbers = np.frombuffer(base64.b64decode(layer["values"]), "<f4").copy()
            numbers[0] += by * max(float(np.linalg.norm(numbers)), 1.0)
            layer["values"] = base64.b64encode(numbers.tobytes()).decode()

    return Lock.from_json(sealed(lock.to_json(), change))


def sealed(values: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """A lock that was changed by somebody who knows how its digests are made."""
    from caa_registry.digests import digest_object
    from caa_registry.vectors import tensor_digest

    values = copy.deepcopy(values)
    change(values)
    vector = values["vector"]
    for layer in vector["layers"]:
        layer["sha256"] = digest_bytes(base64.b64decode(layer["values"]))
    width = values["model"]["d_model"]
    vector["tensors"] = tensor_digest({layer["layer"]: layer["sha256"] for layer in vector["layers"]}, width)
    identity = {"dataset": values["dataset"]["digest"], "model": values["model"]["fingerprint"]}
    vector["digest"] = digest_object("vector", {"tensors": vector["tensors"], **identity, "recipe": values["recipe"]})
    return resealed(values)


def resealed(values: dict[str, Any]) -> dict[str, Any]:
    content = {key: value for key, value in values.items() if key != "digest"}
    return {**content, "digest": digest_bytes(canonical(content).encode())}


def test_numbers_within_the_tolerance_are_stored_and_others_are_not(
    lock: Lock, elsewhere: Registry, folder: Path
) -> None:
    before = counts(elsewhere)
    far = elsewhere.vectors.compute_locked(shifted(lock, 0.1), model=folder)
    assert not far.found.holds and far.found.apart and far.version is None and far.dataset is None
    assert counts(elsewhere) == before and elsewhere.datasets.ls() == []
    near = elsewhere.vectors.compute_locked(shifted(lock, 1e-6), model=folder)
    assert near.found.holds and not near.found.same_bits
    assert near.version is not None and near.version.digest == lock.version_digest


def test_a_recipe_that_means_something_else_now_is_not_followed(lock: Lock, elsewhere: Registry, folder: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["recipe"]["template_digest"] = digest_bytes(b"another")

    before = counts(elsewhere)
    followed = elsewhere.vectors.compute_locked(Lock.from_json(sealed(lock.to_json(), change)), model=folder)
    assert followed.found.differences == ("prompts are rendered with another template",)
    assert not followed.found.layers and followed.version is None and counts(elsewhere) == before


def test_a_computation_that_fails_leaves_a_run_that_says_so(lock: Lock, elsewhere: Registry, folder: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        elsewhere.vectors.compute_locked(lock, model=folder, progress=stop)
    (run,) = elsewhere.runs.ls()
    assert (run.run.kind, run.run.failure) == ("compute", "interrupted") and elsewhere.datasets.ls() == []


def test_names_that_cannot_be_had_are_refused_before_anything_is_computed(
    lock: Lock, elsewhere: Registry, folder: Path, tmp_path: Path
) -> None:
    elsewhere.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/pairs")
    before = counts(elsewhere)
    with pytest.raises(UsageError, match="a set of questions"):
        elsewhere.vectors.compute_locked(lock, model=folder)
    with pytest.raises(UsageError, match="is not a name"):
        elsewhere.vectors.compute_locked(lock, "No Name", model=folder)
    assert counts(elsewhere) == before


def test_a_normalized_vector_cannot_be_locked(
    registry: Registry, version: VectorVersion, pairs: DatasetVersion, folder: Path
) -> None:
    other = registry.vectors.compute("team/other", dataset=pairs, model=folder, method="pca", layers=[0, 2])
    normalized, _ = registry.vectors.normalize([version, other])
    with pytest.raises(UsageError, match="is a normalized vector"):
        registry.vectors.lock(normalized)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another schema": (lambda v: v.update(schema="caa-registry/lock/v9"), "field 'schema'"),
    "no vector": (lambda v: v.pop("vector"), "field 'vector'"),
    "a name with a path": (lambda v: v["vector"].update(name="../x"), "field 'vector.name'"),
    "a number of 0": (lambda v: v["vector"].update(version=0), "field 'vector.version'"),
    "true for a number": (lambda v: v["vector"].update(version=True), "field 'vector.version'"),
    "another tensor digest": (lambda v: v["vector"].update(tensors=digest_bytes(b"")), "field 'vector.tensors'"),
    "another version digest": (lambda v: v["vector"].update(digest=digest_bytes(b"")), "field 'vector.digest'"),
    "no layers": (lambda v: v["vector"].update(layers=[]), "field 'vector.layers'"),
    "layers of another kind": (lambda v: v["vector"].update(layers={}), "field 'vector.layers'"),
    "a layer that is no object": (lambda v: v["vector"]["layers"].append(3), "vector.layers[2]'"),
    "no base64": (lambda v: v["vector"]["layers"][0].update(values="ä"), "vector.layers[0].values'"),
    "another layer": (lambda v: v["vector"]["layers"][0].update(values="AAAA"), "vector.layers[0].sha256'"),
    "layers of a recipe": (lambda v: v["recipe"].update(layers=[2, 0]), "field 'recipe.layers'"),
    "a layer of text": (lambda v: v["recipe"].update(layers=["0", 2]), "field 'recipe.layers'"),
    "an unknown read position": (lambda v: v["recipe"].update(read="first"), "field 'recipe'"),
    "a normalized recipe": (lambda v: v["recipe"].update(normalized={}), "field 'recipe.normalized'"),
    "counts below 0": (lambda v: v["recipe"].update(pairs=-1), "field 'recipe.pairs'"),
    "rendering of another kind": (lambda v: v["recipe"].update(rendering=[]), "field 'recipe.rendering'"),
    "no pairs": (lambda v: v["dataset"].update(pairs=[]), "field 'dataset.pairs'"),
    "a pair that is no object": (lambda v: v["dataset"]["pairs"].append(None), "dataset.pairs[8]'"),
    "an empty side": (lambda v: v["dataset"]["pairs"][1].update(positive=" "), "dataset.pairs[1]'"),
    "a bad split": (lambda v: v["dataset"]["pairs"][1].update(split="../x"), "dataset.pairs[1]'"),
    "bad turns": (lambda v: v["dataset"]["pairs"][1].update(turns=[{"role": "x"}]), "dataset.pairs[1].turns'"),
    "a changed pair": (lambda v: v["dataset"]["pairs"][1].update(prompt="?"), "field 'dataset.digest'"),
    "a pair less": (lambda v: v["dataset"]["pairs"].pop(), "field 'dataset.digest'"),
    "a source of text": (lambda v: v["dataset"].update(source="x"), "field 'dataset.source'"),
    "a source without a uri": (lambda v: v["dataset"]["source"].pop("uri"), "field 'dataset.source.uri'"),
    "a behavior that is no name": (lambda v: v["dataset"]["source"].update(behavior="<x>"), "dataset.source.behavior'"),
    "a NUL": (lambda v: v["dataset"].update(licence="\0"), "field 'dataset.licence'"),
    "half a surrogate pair": (lambda v: v["dataset"].update(message="\ud800"), "field 'dataset.message'"),
    "parts of no digest": (lambda v: v["model"]["parts"].update(weights="sha256:1"), "field 'model.parts.weights'"),
    "another fingerprint": (lambda v: v["model"].update(fingerprint=digest_bytes(b"")), "field 'model.fingerprint'"),
    "a path for a repository": (lambda v: v["model"].update(repo="/etc/x", revision="0" * 40), "field 'model.repo'"),
    "a repository without a commit": (lambda v: v["model"].update(repo="a/b"), "field 'model.revision'"),
    "a width of text": (lambda v: v["model"].update(d_model="8"), "field 'model.d_model'"),
    "another width": (lambda v: v["model"].update(d_model=7), "vector.layers[0].values'"),
    "a model of fewer layers": (lambda v: v["model"].update(n_layers=1), "field 'vector.layers'"),
    "an environment of lists": (lambda v: v["environment"].update(mlx=[]), "field 'environment.mlx'"),
    "nesting": (lambda v: v["environment"].update(mlx=deep(50)), "nested too deeply"),
    "a key more": (lambda v: v.update(more=1), "field 'more'"),
    "a key more within": (lambda v: v["model"].update(more=1), "field 'model'"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_with_a_lock_is_named_though_its_digest_is_right(lock: Lock, name: str) -> None:
    change, named = CHANGES[name]
    values = copy.deepcopy(lock.to_json())
    change(values)
    with pytest.raises(InputError) as error:
        Lock.from_json(resealed(values), "FILE")
    assert named in error.value.message and error.value.message.startswith("FILE") and error.value.hint


def test_a_lock_that_was_edited_without_its_digests_is_refused(lock: Lock) -> None:
    values = lock.to_json()
    values["dataset"]["licence"] = "CC0"
    with pytest.raises(InputError, match=r"field 'digest'.*it was changed or cut off"):
        Lock.from_json(values)
    numbers = sealed(lock.to_json(), lambda v: None)
    layer = numbers["vector"]["layers"][0]
    width = lock.model.d_model
    bad = np.full(width, np.nan, "<f4").tobytes()

    def infinite(v: dict[str, Any]) -> None:
        v["vector"]["layers"][0]["values"] = base64.b64encode(bad).decode()

    assert layer["layer"] == 0
    with pytest.raises(InputError, match="not a finite number"):
        Lock.from_json(sealed(lock.to_json(), infinite))
    for odd in (None, [], "lock", 3, {1: 2}, {"schema": {"a": {1}}}, {"a": float("nan")}):
        with pytest.raises(InputError):
            Lock.from_json(odd)


TEXTS = {
    "nothing": ("", "not JSON"),
    "no JSON": ("{", "not JSON"),
    "a list": ("[]", "not a JSON object"),
    "NaN": ('{"a":NaN}', "field 'a'"),
    "a huge number": ('{"a":1e999}', "field 'a'"),
    "too many digits": ('{"a":' + "1" * 5000 + "}", "field 'a'"),
    "a key twice": ('{"a":1,"a":2}', "field 'a'"),
    "nesting": ("[" * 100_000, "nested too deeply"),
    "many parts": ("[" + "[]," * 4_000_001 + "[]]", "more than 4,000,000"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_lock_is_refused(name: str) -> None:
    text, named = TEXTS[name]
    with pytest.raises(InputError) as error:
        Lock.from_text(text, "FILE")
    assert named in error.value.message and error.value.message.startswith("FILE") and error.value.hint


def test_files_that_cannot_be_read_are_refused(elsewhere: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is missing"):
        elsewhere.vectors.compute_locked(tmp_path / "none.json")
    with pytest.raises(NotFoundError, match="is not a regular file"):
        elsewhere.vectors.compute_locked(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a":"\xe4"}')
    with pytest.raises(InputError, match="not UTF-8"):
        elsewhere.vectors.compute_locked(tmp_path / "latin.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(256 * 2**20 + 1)
    with pytest.raises(InputError, match="larger than 256 MiB"):
        elsewhere.vectors.compute_locked(tmp_path / "large.json")


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*at, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CHECKED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKED
@given(data=st.data())
def test_a_lock_that_was_changed_anywhere_is_an_error_or_the_same(
    lock: Lock, tmp_path: Path, data: st.DataObject
) -> None:
    values = copy.deepcopy(lock.to_json())
    at = data.draw(st.sampled_from(sorted(places(values), key=repr)))
    owner = values
    for key in at[:-1]:
        owner = owner[key]
    if data.draw(st.booleans()):
        owner[at[-1]] = data.draw(JSON)
    else:
        del owner[at[-1]]
    path = tmp_path / "changed.json"
    for text in (json.dumps(values), json.dumps(resealed(values))):
        path.write_text(text, encoding="utf-8")
        try:
            read = read_lock(path)
        except InputError as error:
            assert error.message
        else:
            assert Lock.from_text(read.to_text()) == read


@CHECKED
@given(data=st.data())
def test_bytes_that_were_changed_or_cut_off_are_an_error_or_the_same(
    lock: Lock, tmp_path: Path, data: st.DataObject
) -> None:
    text = bytearray(lock.to_text().encode())
    place = data.draw(st.integers(0, len(text) - 1))
    if data.draw(st.booleans()):
        del text[place:]
    else:
        text[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "lock.json"
    path.write_bytes(text)
    try:
        assert read_lock(path) == lock
    except CaaError as error:
        assert isinstance(error, InputError)
