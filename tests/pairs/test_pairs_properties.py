"""Laws of the pairs room, on random input."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caa_registry.errors import CaaError, InputError
from caa_registry.pairs.record import Imported, Pair, PairItem, checked_pair, dataset_digest
from caa_registry.pairs.sources import load

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40)


def _usable(pair: Pair) -> bool:
    try:
        checked_pair(pair)
    except InputError:
        return False
    return True


PAIRS = st.lists(st.builds(Pair, TEXT, TEXT, TEXT, TEXT).filter(_usable), min_size=1, max_size=5)
FIELDS = ("prompt", "positive", "negative", "system")


def load_bytes(data: bytes, name: str, format: str | None = None) -> Imported:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return load(str(path), format=format)


def digest(items: list[PairItem]) -> str:
    return dataset_digest("pairs", items)


def as_jsonl(pairs: list[Pair], ascii_only: bool) -> bytes:
    rows = ({name: getattr(pair, name) for name in FIELDS} for pair in pairs)
    return "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()


def as_csv(pairs: list[Pair]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(FIELDS)
    writer.writerows([getattr(pair, name) for name in FIELDS] for pair in pairs)
    return out.getvalue().encode()


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.booleans())
@example([Pair("a\u2028b\x85\x1c", " yes\r", "\rno\n", "\ufeff")], False)
def test_pairs_survive_jsonl_and_csv(pairs: list[Pair], ascii_only: bool) -> None:
    wanted = digest([PairItem(pair) for pair in pairs])
    for data, name in ((as_jsonl(pairs, ascii_only), "d.jsonl"), (as_csv(pairs), "d.csv")):
        imported = load_bytes(data, name)
        assert [item.pair for item in imported.items if isinstance(item, PairItem)] == pairs
        assert dataset_digest(imported.kind, imported.items) == wanted


FRAGMENTS = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\n", b"\r\n", b'"question"', b'"answer_matching_behavior"', b'"(A)"',
    b'"answer_not_matching_behavior"', b'"prompt"', b'"positive"', b'"negative"', b'"split"', b"null", b"1e999",
    b"NaN", b'"\\ud800"', b'"\\u0000"', b"\xef\xbb\xbf", b"\xff", b"PAR1", b"prompt,positive,negative\n", b"a,b,c\n",
    b'{"prompt":"p","positive":"a","negative":"b"}', b'[{"question":"q"}]',
]  # fmt: skip
JUNK = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join))


@pytest.mark.parametrize(
    ("name", "format"),
    [("d.json", None), ("d.jsonl", None), ("d.csv", None), ("d.parquet", None), ("d", None)]
    + [("d", format) for format in ("caa", "anthropic", "jsonl", "json", "csv", "parquet")],
)
def test_any_bytes_are_imported_or_refused(name: str, format: str | None) -> None:
    @settings(max_examples=60, deadline=None)
    @given(JUNK)
    def law(data: bytes) -> None:
        try:
            imported = load_bytes(data, name, format)
        except CaaError:
            return
        assert imported.items
        json.dumps([dict(item.metadata) for item in imported.items], allow_nan=False)

    law()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["q", "r"], "positive": ["a", "a"], "negative": ["b", "b"]}), buffer)
    return buffer.getvalue()


PARQUET = _parquet()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PARQUET) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_parquet_file_is_imported_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(PARQUET)
    for place, value in changes:
        data[place] = value
    with contextlib.suppress(CaaError):
        load_bytes(bytes(data), "d.parquet")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_two_files_of_lines_are_imported_or_refused(one: bytes, other: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("a", one), ("b", other)):
            (Path(folder) / name).write_bytes(data)
        with contextlib.suppress(CaaError):
            assert load(f"lines:{folder}/a,{folder}/b").items


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
@example("hf:a/b@\ud800")
@example("\ud800")
@example("seed:\x00")
@example("lines:\x00,\x00")
def test_any_text_is_a_source_or_refused(text: str) -> None:
    # A well-formed hub source would ask the network.
    source = text.replace("hf:", "hf:/")
    with contextlib.suppress(CaaError):
        load(source)


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.data())
def test_the_digest_of_a_dataset_ignores_order_and_metadata_only(pairs: list[Pair], data: st.DataObject) -> None:
    items = [PairItem(pair, metadata={"row": n}) for n, pair in enumerate(pairs)]
    wanted = digest(items)
    assert digest(data.draw(st.permutations(items))) == wanted
    assert digest([PairItem(item.pair) for item in items]) == wanted
    assert digest([*items, items[0]]) != wanted
    assert digest([PairItem(items[0].pair, "test"), *items[1:]]) != wanted


def test_digests_do_not_depend_on_the_process(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(as_jsonl([Pair("é", "a", "b"), Pair("q", "yes", "no", "s")], False))
    code = (
        "import sys; from caa_registry.pairs.record import dataset_digest; from caa_registry.pairs.sources import load;"
        "i = load(sys.argv[1]); print(dataset_digest(i.kind, i.items))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1


def test_importing_pairs_imports_no_heavy_module() -> None:
    heavy = ("mlx", "sqlalchemy", "transformers", "datasets", "huggingface_hub", "pyarrow", "yaml", "click", "numpy")
    code = (
        "import sys, caa_registry.pairs.sources, caa_registry.pairs.answers;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
