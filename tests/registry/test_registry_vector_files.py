"""Vectors of other tools: imported with what their files mean and claim, kept from harm, and written out again."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catalog.registry_fixtures import DIALECTS, new_postgres, new_sqlite
from registry.registry_support import counts, events
from support.torch_files import one_tensor

from caa_registry.errors import CaaError, InputError, ModelMismatchError, NotFoundError, UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.formats.writing import write_vectors
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import FileOrigin, PropensitySettings
from caa_registry.registry.registry import Registry
from caa_registry.vectors import LayerVector, VectorSet

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import format_files
from formats.test_formats_gguf import BOOL, STRING, U32, glp
from formats.test_formats_gguf import gguf as gguf_bytes

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion, VectorVersion

BOTH_WAYS = [name for name, format in FORMATS.items() if format.reads and format.writes]


def rows(model: Model, layers: tuple[int, ...] = (1, 2)) -> VectorSet:
    chance = np.random.default_rng(5)
    return VectorSet.of(LayerVector(layer, chance.standard_normal(model.d_model, dtype=np.float32)) for layer in layers)


def gguf(of: Model, path: Path, **card: Any) -> Path:
    write_vectors(rows(of), path, Card(**card), format="gguf")
    return path


def imported(version: VectorVersion) -> FileOrigin:
    assert isinstance(version.origin, FileOrigin)
    return version.origin


@pytest.fixture
def computed(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/own", dataset=pairs, model=model)


@pytest.fixture(params=DIALECTS)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry on each database."""
    url = new_sqlite(tmp_path) if request.param == "sqlite" else new_postgres()
    with open_registry(url, actor="ada", create=False) as opened:
        yield opened


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_what_is_exported_is_imported_with_the_same_numbers_at_the_same_layers(
    registry: Registry, computed: VectorVersion, model: Model, tmp_path: Path, name: str
) -> None:
    layers = [1] if FORMATS.named(name).one_layer else [1, 2]
    (path,) = registry.vectors.export(
        computed, tmp_path / f"file{FORMATS.named(name).suffixes[0]}", format=name, layers=layers
    )
    layer = 1 if name == "caa" else None  # its producer says the layer in the name
    version = registry.vectors.import_(path, name="team/back", model=model, layer=layer)
    stored, back = registry.vectors.load(computed), registry.vectors.load(version)
    assert back.layer_numbers == layers
    for at in layers:
        assert np.array_equal(back[at].values, stored[at].values), at
        assert registry.vectors.layer(version, at).sha256 == stored[at].sha256
    assert imported(version).format == name and version.recipe is None and version.dataset == ""
    assert not registry.fsck().damage


def test_an_export_may_be_scaled_and_says_so(
    registry: Registry, computed: VectorVersion, model: Model, tmp_path: Path
) -> None:
    registry.vectors.export(computed, tmp_path / "half.safetensors", multiplier=-0.5)
    with pytest.raises(UsageError, match="exists"):
        registry.vectors.export(computed, tmp_path / "half.safetensors")
    assert b'"multiplier":"-0.5"' in (tmp_path / "half.safetensors").read_bytes().replace(b"\\", b"")
    back = registry.vectors.load(registry.vectors.import_(tmp_path / "half.safetensors", name="team/half"))
    assert np.array_equal(back[1].values, registry.vectors.load(computed)[1].values * np.float32(-0.5))
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(UsageError):
            registry.vectors.export(computed, tmp_path / "wrong.safetensors", multiplier=wrong)
    with pytest.raises(UsageError, match="no layer 9"):
        registry.vectors.export(computed, tmp_path / "wrong.safetensors", layers=[9])
    with pytest.raises(UsageError, match="block 0"):
        registry.vectors.export(computed, tmp_path / "wrong.gguf")
    assert not list(tmp_path.glob("wrong*"))


def test_without_a_model_it_is_only_claimed(either: Registry, model: Model, tmp_path: Path) -> None:
    path = gguf(model, tmp_path / "x.gguf", model="org/Model", reference="theirs:v7")
    version = either.vectors.import_(path, name="team/x")
    assert version.model is None and version.model_name == "claimed: org/Model" and version.behavior == "x"
    assert imported(version).claims.reference == "theirs:v7"
    assert either.vectors.ls()[0].model_name == "claimed: org/Model"
    assert either.vectors.get("team/x") == version
    with pytest.raises(ModelMismatchError, match=r"only claimed \(org/Model\)"), either.steer(model, "team/x", layer=1):
        pass
    with either.steer(model, "team/x", layer=1, allow_mismatch=True):
        pass
    assert events(either)[-1][0] == "apply-to-mismatched-model"
    for refused in (
        lambda: either.vectors.verify(version, recompute=True),
        lambda: either.vectors.lock(version),
        lambda: either.vectors.combine("team/y", [version.reference, version.reference]),
        lambda: either.vectors.similar(version, layer=1),
    ):
        with pytest.raises(UsageError):
            refused()
    assert either.vectors.verify(version).pairs == 0
    assert not either.fsck().damage


def test_with_a_model_the_run_records_who_said_so(either: Registry, model: Model, tmp_path: Path) -> None:
    path = gguf(model, tmp_path / "x.gguf")
    claimed = either.vectors.import_(path, name="team/x", behavior="kindness")
    version = either.vectors.import_(path, name="team/x", model=model)
    assert (claimed.number, version.number) == (1, 2) and version.model == either.models.get(model.info.name).info
    assert claimed.behavior == "kindness"
    assert [v.reference for v in either.vectors.ls(behavior="kindness", all_versions=True)] == ["team/x:v1"]
    assert [v.reference for v in either.vectors.ls(model=model.info.name, all_versions=True)] == ["team/x:v2"]
    lineage = either.lineage("vector:team/x:v2")
    maker = lineage.root.run
    assert maker is not None and (maker.kind, maker.actor) == ("import", "ada")
    assert [key.partition(":")[0] for key in lineage.root.inputs] == ["model"]
    card = either.reports.card(version)
    assert "ada named it (run" in card and "Whether the numbers come from it cannot be checked" in card
    assert "no model was named at import" in either.reports.card(claimed)


def test_the_same_content_is_the_same_version_whatever_it_is_called(
    registry: Registry, model: Model, tmp_path: Path
) -> None:
    first = registry.vectors.import_(gguf(model, tmp_path / "x.gguf"), name="team/x")
    moved = tmp_path / "there" / "renamed.bin"
    moved.parent.mkdir()
    shutil.move(tmp_path / "x.gguf", moved)
    before = counts(registry)
    again = registry.vectors.import_(moved, name="team/x")
    assert again.existing and again.reference == first.reference and again.digest == first.digest
    assert counts(registry) == before


def test_another_layer_of_the_same_file_is_another_version(registry: Registry, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "vector.pt"
    path.write_bytes(one_tensor(np.ones(model.d_model, np.float32)))
    versions = [registry.vectors.import_(path, name="team/x", layer=layer) for layer in (0, 3, 0)]
    assert [(v.number, v.layer_numbers, v.existing) for v in versions] == [
        (1, [0], False),
        (2, [3], False),
        (1, [0], True),
    ]


def test_a_folder_with_a_file_a_layer_becomes_one_version(
    registry: Registry, computed: VectorVersion, tmp_path: Path
) -> None:
    folder = tmp_path / "vectors"
    written = registry.vectors.export(computed, folder, format="caa")
    assert len(written) == len(computed.layers)
    (folder / "README.md").write_text("# Vectors\n")
    (folder / ".hidden").write_bytes(b"\0\1")
    version = registry.vectors.import_(folder, name="team/back")
    assert version.layer_numbers == computed.layer_numbers
    assert registry.vectors.load(version).tensor_digest == computed.tensor_digest
    assert len(imported(version).files) == len(written)
    sound = written[0].read_bytes()
    for damaged in (sound[:100], b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", b'{"layers": {'):
        written[0].write_bytes(damaged)
        with pytest.raises(InputError):
            registry.vectors.import_(folder, name="team/back")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no vector file"):
        registry.vectors.import_(tmp_path / "empty", name="team/back")


def test_what_does_not_fit_is_refused_with_both_numbers(registry: Registry, model: Model, tmp_path: Path) -> None:
    width, n_layers = model.d_model, model.n_layers
    files = {
        "wide": VectorSet.of([LayerVector(1, np.ones(width + 1, np.float32))]),
        "deep": VectorSet.of([LayerVector(n_layers, np.ones(width, np.float32))]),
        "sound": rows(model),
    }
    for name, vectors in files.items():
        write_vectors(vectors, tmp_path / f"{name}.safetensors", Card())
    write_vectors(files["sound"], tmp_path / "claims.safetensors", Card(n_layers=99))
    write_vectors(files["sound"], tmp_path / "other.safetensors", Card(fingerprint="sha256:" + "a" * 64))
    before = counts(registry)
    for name, said in {
        "wide": f"{width + 1} wide.*{width} wide",
        "deep": f"layer {n_layers}.*{n_layers} layers",
        "claims": f"99 layers.*{n_layers}",
        "other": "sha256:aaaaaaaaaaaa.*" + model.info.fingerprint.digest[:19],
    }.items():
        with pytest.raises(ModelMismatchError, match=said):
            registry.vectors.import_(tmp_path / f"{name}.safetensors", name="team/x", model=model)
    write_vectors(files["sound"], tmp_path / "itself.safetensors", Card(n_layers=2))
    with pytest.raises(InputError, match="it has layer 2, and says that the model has 2"):
        registry.vectors.import_(tmp_path / "itself.safetensors", name="team/x")
    with pytest.raises(NotFoundError):
        registry.vectors.import_(tmp_path / "absent", name="team/x")
    with pytest.raises(UsageError):
        registry.vectors.import_(tmp_path / "sound.safetensors", name="Not A Name")
    assert counts(registry) == before


def test_a_vector_that_hidden_states_gave_says_where_its_top_layer_was_measured(
    registry: Registry, model: Model, tmp_path: Path
) -> None:
    path, top = tmp_path / "happy.gguf", model.n_layers - 1
    row = np.eye(1, model.d_model, dtype=np.float32)[0]
    path.write_bytes(
        gguf_bytes(
            [(f"direction.{top}", row)],
            {"controlvector.model_hint": (STRING, "llama"), "controlvector.layer_count": (U32, 1)},
        )
    )
    known = registry.vectors.import_(path, name="team/x", model=model)
    unknown = registry.vectors.import_(path, name="team/x")
    assert imported(known).derived_at == {top: "final_norm"} and imported(unknown).derived_at == {}
    assert any("final norm" in warning for warning in imported(known).warnings)


def projection(width: int, rank: int) -> bytes:
    """One or two directions a layer, to be projected out."""
    first, second = np.eye(2, width, dtype=np.float32)
    if rank == 1:
        return gguf_bytes([("direction.1", first), ("direction.2", second)], glp(layer_ids_zero_based=(STRING, "1,2")))
    tensors = [(f"direction.{layer}{rest}", row) for layer in (1, 2) for rest, row in (("", first), (".1", second))]
    keys = glp(
        spec_version=(U32, 2),
        rank=(STRING, "2"),
        orthonormal=(BOOL, 1),
        dir_scales=(STRING, "1.0,1.0"),
        layer_ids_zero_based=(STRING, "1,2"),
    )
    return gguf_bytes(tensors, keys)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_projection_is_kept_and_never_added(either: Registry, model: Model, tmp_path: Path, rank: int) -> None:
    path = tmp_path / "project.gguf"
    path.write_bytes(projection(model.d_model, rank))
    version = either.vectors.import_(path, name="team/p", model=model)
    assert imported(version).operation == "project" and version.rank == rank
    shape = either.vectors.directions(version)[1].values.shape
    assert shape == ((model.d_model,) if rank == 1 else (2, model.d_model))
    before = counts(either)
    refusals = [
        lambda: either.vectors.export(version, tmp_path / "out.safetensors"),
        lambda: either.vectors.combine("team/y", [version.reference]),
        lambda: either.steer(model, version, layer=1).__enter__(),
        lambda: either.evaluations.side_effects(version, model=model, layers=[1]),
        lambda: either.vectors.tokens(version, model, "Is it?", layer=1),
    ]
    if rank > 1:
        refusals += [
            lambda: either.vectors.load(version),
            lambda: either.vectors.layer(version, 1),
            lambda: either.vectors.similar(version, layer=1),
            lambda: either.vectors.compare(version, version),
        ]
    for refused in refusals:
        with pytest.raises(UsageError, match="cannot be added"):
            refused()
    assert counts(either) == before and not (tmp_path / "out.safetensors").exists()
    assert either.vectors.verify(version).pairs == 0 and not either.fsck().damage
    assert "It is not applied" in either.reports.card(version)


def test_what_a_file_claims_may_be_any_text(either: Registry, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_vectors(rows(model, (1,)), path, Card(), format="neuronpedia")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"modelId": "a\0b\ud800\U0001f600"}))
    version = either.vectors.import_(path, name="team/x")
    assert version.claimed_model == "a\ufffdb\ufffd\U0001f600"
    assert "\0" not in json.dumps(imported(version).to_json(), ensure_ascii=False)
    assert either.vectors.get("team/x") == version and not either.fsck().damage


@pytest.mark.parametrize("layout", sorted(format_files.SOUND))
def test_a_damaged_file_leaves_nothing(registry: Registry, tmp_path: Path, layout: str) -> None:
    chance, before = random.Random(layout), counts(registry)
    sound = format_files.SOUND[layout]()
    for _ in range(12):
        path = tmp_path / "damaged"
        path.write_bytes(format_files.damaged(sound, chance))
        try:
            version = registry.vectors.import_(path, name="team/x", layer=1 if layout == "caa" else None)
        except CaaError:
            assert counts(registry) == before
        else:
            assert registry.vectors.verify(version).pairs == 0
            before = counts(registry)
    assert not registry.fsck().damage


def test_it_goes_the_whole_way(
    registry: Registry, pairs: DatasetVersion, model: Model, computed: VectorVersion, tmp_path: Path
) -> None:
    path = tmp_path / "x.gguf"
    registry.vectors.export(computed, path, layers=[1])
    version = registry.vectors.import_(path, name="team/theirs", model=model, behavior="pairs")
    with pytest.raises(UsageError, match="--dataset"):
        registry.evaluations.propensity(version, model=model)
    evaluation = registry.evaluations.propensity(version, dataset=pairs, model=model, multipliers=[-1, 0, 1])
    own = registry.evaluations.propensity(
        computed, model=model, layers=[1], settings=PropensitySettings(controls=("isotropic",))
    )
    assert evaluation.null == "isotropic" and evaluation.leaks_unknown and "leaks unknown" in evaluation.remarks
    for one, other in zip(evaluation.of(), own.of(), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9)
    assert registry.evaluations.evidence([version])[version.digest].evaluation.id == evaluation.id
    assert {ranked.evidence.vector.reference for ranked in registry.evaluations.leaderboard(behavior="pairs")} == {
        "team/theirs:v1",
        "team/own:v1",
    }
    with pytest.raises(UsageError, match="not computed from pairs"):
        registry.evaluations.propensity(
            version, dataset=pairs, model=model, settings=PropensitySettings(untrained=True)
        )
    report = registry.reports.write(version, tmp_path / "report").read_text()
    assert "What its file claims, and what was checked" in report and "cannot be told" in report
    card = registry.reports.card(version)
    assert "caa vector import x.gguf --name team/theirs --format gguf" in card and "Scores: layer 1" in card
    with registry.steer(model, version, layer=1):
        assert model.generate("Is it good?", max_tokens=2)
    assert registry.reports.vector_pictures([version]).keys() == {"cosines"}
    assert registry.evaluations.verify(evaluation.id).holds


def test_files_of_two_models_are_not_one_vector(registry: Registry, model: Model, tmp_path: Path) -> None:
    for layer, changed in ((1, {}), (2, {"fingerprint": "sha256:" + "b" * 64}), (3, {"n_layers": 99})):
        card = Card(**{"fingerprint": model.info.fingerprint.digest, "n_layers": model.n_layers, **changed})
        layers = rows(model, (layer if layer < 3 else 2,))
        write_vectors(layers, tmp_path / f"{layer}.safetensors", card)
    before = counts(registry)
    for other in (2, 3):
        files = [tmp_path / "1.safetensors", tmp_path / f"{other}.safetensors"]
        with pytest.raises(InputError):
            registry.vectors.import_(files, name="team/x", model=model)
    assert counts(registry) == before


def test_what_is_said_of_a_file_that_says_it_itself_is_refused(
    registry: Registry, model: Model, tmp_path: Path
) -> None:
    write_vectors(rows(model), tmp_path / "x.safetensors", Card())
    with pytest.raises(InputError, match=r"it has layers 1-2, and --layer says 1"):
        registry.vectors.import_(tmp_path / "x.safetensors", name="team/x", layer=1)
    with pytest.raises(InputError, match="no rows"):
        registry.vectors.import_(tmp_path / "x.safetensors", name="team/x", row=0)


def test_names_and_texts_of_strangers_stay_text(either: Registry, model: Model, tmp_path: Path) -> None:
    hostile = "org/<img src=x onerror=alert(1)> [link](http://x) a\\|b \x1b[31m"
    path = tmp_path / "\udcff.safetensors"
    write_vectors(rows(model), path, Card(model=hostile))
    version = either.vectors.import_(path, name="team/x")
    assert either.vectors.get("team/x").model_name == f"claimed: {hostile}"
    card = either.reports.card(version)
    card.encode()
    outside = re.sub(r"`[^`]*`", "", card)
    assert "\x1b" not in card and "\n| model | claimed: org/\\<img" in card
    assert "<img" not in outside.replace("\\<", "") and "](http" not in outside.replace("\\](", "").replace(
        "\\]\\(", ""
    )
    assert "First import it again with `--model`" in card and "caa generate" not in card
    for behavior in ("x\0y", "\udcff"):
        with pytest.raises(UsageError):
            either.vectors.import_(path, name="team/y", behavior=behavior)
    assert len({version, either.vectors.get("team/x")}) == 1
    assert not either.fsck().damage


def test_a_scaled_export_claims_to_be_scaled(registry: Registry, computed: VectorVersion, tmp_path: Path) -> None:
    registry.vectors.export(computed, tmp_path / "twice.safetensors", multiplier=2)
    claims = imported(registry.vectors.import_(tmp_path / "twice.safetensors", name="team/twice")).claims
    assert claims.reference == "team/own:v1 times 2.0" and "version" not in claims.digests
    for beyond in (1e-45, 1e38):
        with pytest.raises(UsageError, match="float32"):
            registry.vectors.export(computed, tmp_path / "beyond.npz", multiplier=beyond)
    assert not (tmp_path / "beyond.npz").exists()
