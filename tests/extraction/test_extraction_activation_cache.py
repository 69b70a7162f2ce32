"""Activations on disk: found again, never wrong, never more than the bound, no loss when they go."""

from __future__ import annotations

import json
import logging
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.tiny_models import TinyModels

from caa_registry.engine.reading import PairTokens, Work
from caa_registry.errors import IntegrityError
from caa_registry.extraction.activation_cache import ActivationCache, Section, row_key
from caa_registry.extraction.activations import Activations, Places, collect
from caa_registry.models.rendering.prompts import CompletedTokens

LAYERS = [0, 2]


def rows(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, len(LAYERS), 5)).astype(np.float32)


def cache(tmp_path: Path, limit: int = 10**9) -> ActivationCache:
    return ActivationCache(tmp_path / "activations", limit)


def segment_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "activations").glob("*/*.safetensors"))


def test_what_was_added_is_found_by_another_process(tmp_path: Path) -> None:
    values = rows(4)
    added = cache(tmp_path).section({"a": 1}).add(["k0", "k1", "k2", "k3"], LAYERS, values)
    found = cache(tmp_path).section({"a": 1}).find(["k1", "k3", "k9"], LAYERS)
    assert set(found) == {"k1", "k3"} and set(added) == {"k0", "k1", "k2", "k3"}
    for i, layer in enumerate(LAYERS):
        positive, negative = Activations(["k1", "k3"], found).layer(layer)
        assert (positive[0] == values[1, i]).all() and (negative[0] == values[3, i]).all()
    assert cache(tmp_path).section({"a": 2}).find(["k1"], LAYERS) == {}
    assert cache(tmp_path).section({"a": 1}).find(["k1"], [0, 1]) == {}


@pytest.mark.parametrize("harm", ["flip", "cut", "noise", "header"])
def test_a_damaged_segment_is_deleted_and_not_used(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    section = cache(tmp_path).section({})
    section.add(["a", "b"], LAYERS, rows(2))
    section.add(["c"], LAYERS, rows(1))
    (path,) = [p for p in segment_files(tmp_path) if b'\\"a\\"' in p.read_bytes()]
    whole = bytearray(path.read_bytes())
    if harm == "flip":
        whole[-3] ^= 1
    elif harm == "header":
        whole[8:10] = b"[["
    path.write_bytes({"cut": bytes(whole[:-4]), "noise": b"\x80\x04pickle"}.get(harm, bytes(whole)))
    with caplog.at_level(logging.WARNING):
        assert set(section.find(["a", "b", "c"], LAYERS)) == {"c"}
    assert "damaged" in caplog.text and not path.exists()


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    for i in range(4):
        kept.section({}).add([f"k{i}"], LAYERS, rows(1))
        for path in segment_files(tmp_path):
            os.utime(path, (1000 + i, 1000 + i)) if f'\\"k{i}\\"'.encode() in path.read_bytes() else None
    size = kept.size() // 4
    assert set(kept.section({}).find(["k0"], LAYERS)) == {"k0"}  # used now
    cache(tmp_path, 2 * size).trim()
    assert set(kept.section({}).find(["k0", "k1", "k2", "k3"], LAYERS)) == {"k0", "k3"}
    assert kept.size() == 2 * size
    cache(tmp_path, 0).trim()
    assert kept.size() == 0 and segment_files(tmp_path) == []


def test_what_an_interrupted_write_left_is_no_segment_and_goes_after_a_day(tmp_path: Path) -> None:
    section = cache(tmp_path).section({})
    section.add(["a"], LAYERS, rows(1))
    part = segment_files(tmp_path)[0].with_suffix(".part")
    part.write_bytes(b"half")
    cache(tmp_path).trim()
    assert part.exists()
    os.utime(part, (1000, 1000))
    cache(tmp_path).trim()
    assert not part.exists() and set(section.find(["a"], LAYERS)) == {"a"}


def test_a_disk_that_refuses_leaves_the_rows_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    section = Section(blocked / "x")
    with caplog.at_level(logging.WARNING):
        places = section.add(["a", "b"], LAYERS, rows(2)) | section.add(["c", "d"], LAYERS, rows(2, 1))
    assert caplog.text.count("kept in memory only") == 1
    positive, negative = Activations(["a", "b", "c", "d"], places).layer(2)
    np.testing.assert_array_equal(positive, np.stack([rows(2)[0, 1], rows(2, 1)[0, 1]]))
    np.testing.assert_array_equal(negative, np.stack([rows(2)[1, 1], rows(2, 1)[1, 1]]))


def test_files_that_go_while_they_are_used_are_an_error_and_no_wrong_number(tmp_path: Path) -> None:
    places = cache(tmp_path).section({}).add(["a", "b"], LAYERS, rows(2))
    segment_files(tmp_path)[0].unlink()
    with pytest.raises(IntegrityError, match="deleted or changed") as caught:
        Activations(["a", "b"], places).layer(0)
    assert caught.value.hint == "Run this again."


def test_segments_are_plain_tensors_with_one_metadata_key(tmp_path: Path) -> None:
    cache(tmp_path).section({}).add(["a"], LAYERS, rows(1))
    data = segment_files(tmp_path)[0].read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert list(header.pop("__metadata__")) == ["caa_activations"]
    assert sorted(header) == ["layer.0", "layer.2"]


SIDES = st.builds(
    lambda ids, a, b: CompletedTokens(tuple(ids), 0, min(a, len(ids) - 1), min(b, len(ids) - 1)),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.integers(0, 4),
    st.integers(0, 4),
)


@given(SIDES, SIDES, st.sampled_from(["answer", "last", "mean"]))
def test_equal_keys_are_equal_readings(one: CompletedTokens, other: CompletedTokens, read: Any) -> None:
    def depends_on(side: CompletedTokens) -> tuple[object, ...]:
        if read == "answer":
            return side.ids[: side.answer + 1]
        return (side.ids, side.start) if read == "mean" else side.ids

    assert (row_key(one, read) == row_key(other, read)) == (depends_on(one) == depends_on(other))


def pairs(n: int) -> list[PairTokens]:
    def side(i: int, letter: int) -> CompletedTokens:
        prompt = tuple((7 * k + 31 * i) % 390 + 2 for k in range(10 + i % 3))
        return CompletedTokens((*prompt, 40, letter), len(prompt) - 1, len(prompt), len(prompt) + 1)

    return [PairTokens(i, side(i, 65), side(i, 66)) for i in range(n)]


def everything(model: Any, section: Section, n: int, **options: Any) -> tuple[NDArray[np.float32], Work]:
    work = Work()
    found = collect(model, pairs(n), [0, 1, 2], "answer", section, work=work, **options)
    return np.stack([np.stack(found.layer(layer)) for layer in range(3)]), work


def test_only_what_is_new_is_read(tiny: TinyModels, tmp_path: Path) -> None:
    model, section = tiny("llama"), cache(tmp_path).section({})
    few, first = everything(model, section, 6)
    assert first.forward_passes > 0
    again, second = everything(model, section, 6)
    assert (second.forward_passes, second.tokens) == (0, 0)
    np.testing.assert_array_equal(again, few)
    many, third = everything(model, section, 9)
    assert 0 < third.tokens < first.tokens
    np.testing.assert_array_equal(many[:, :, :6], few)
    fresh, fourth = everything(model, section, 9, fresh=True)
    assert fourth.tokens > third.tokens
    np.testing.assert_allclose(fresh, many, rtol=1e-4, atol=1e-4)


def test_equal_pairs_are_read_once(tiny: TinyModels, tmp_path: Path) -> None:
    model, work = tiny("llama"), Work()
    once, twice = cache(tmp_path).section({"n": 1}), cache(tmp_path).section({"n": 2})
    collect(model, pairs(5), [0], "answer", once, work=work)
    double = Work()
    found = collect(model, pairs(5) * 2, [0], "answer", twice, work=double)
    assert double.tokens == work.tokens
    positive, _ = found.layer(0)
    np.testing.assert_array_equal(positive[:5], positive[5:])


def test_an_interruption_keeps_what_was_read(tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, section = tiny("llama"), cache(tmp_path).section({})
    whole, all_work = everything(model, cache(tmp_path).section({"other": 1}), 30)
    add, added = section.add, 0

    def interrupted(keys: Sequence[str], layers: Sequence[int], values: NDArray[np.float32]) -> Places:
        nonlocal added
        added += 1
        if added == 3:  # where the work is, which does not wait for whoever watches its progress
            raise KeyboardInterrupt
        return add(keys, layers, values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(section, "add", interrupted)
        everything(model, section, 30, memory=1)
    told: list[tuple[int, int]] = []
    found, work = everything(model, section, 30, progress=lambda *at: told.append(at))
    assert told[0][0] > 0 and told[-1][0] == told[-1][1]
    assert 0 < work.tokens < all_work.tokens
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory", [1, 10**5, 10**9])
def test_memory_changes_the_batches_and_not_the_numbers(tiny: TinyModels, tmp_path: Path, memory: int) -> None:
    model = tiny("llama")
    wanted, free = everything(model, cache(tmp_path).section({}), 24)
    found, work = everything(model, cache(tmp_path).section({"memory": memory}), 24, memory=memory)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    if memory == 1:
        assert work.forward_passes > free.forward_passes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_left_is_passed_over(tmp_path: Path) -> None:
    section = cache(tmp_path).section({})
    section.add(["a"], LAYERS, rows(1))
    (path,) = segment_files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert set(section.find(["a"], LAYERS)) == {"a"}
    os.chown(path, 12345, -1)
    assert section.find(["a"], LAYERS) == {} and path.exists()


def test_a_link_in_the_cache_is_passed_over(tmp_path: Path) -> None:
    section = cache(tmp_path).section({})
    section.add(["a"], LAYERS, rows(1))
    (path,) = segment_files(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert section.find(["a"], LAYERS) == {}
