"""Files of strangers: none takes memory or time out of proportion to what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.hostile_sources import FILES, write
from support.limited import MOST_ABOVE, peaks

from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.load import load
from caa_registry.pairs.sources.parquet_rows import parquet_rows


@pytest.mark.long
def test_no_file_takes_more_than_its_share_of_memory_and_time(tmp_path: Path) -> None:
    write(tmp_path)
    found = peaks("support.hostile_sources:report", str(tmp_path))
    assert found["outcomes"].keys() == FILES.keys()
    for name, outcome in found["outcomes"].items():
        assert outcome.startswith("refused"), (name, outcome)
    assert found["above"] < MOST_ABOVE


@pytest.mark.parametrize(
    "options",
    [
        {"row_group_size": 100},
        {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 1000},
        {"use_dictionary": False, "compression": "none"},
        {"use_dictionary": False, "compression": "gzip", "column_encoding": {"prompt": "DELTA_BYTE_ARRAY"}},
        {"dictionary_pagesize_limit": 1000, "version": "1.0"},
    ],
)
def test_sound_tables_are_read_as_pyarrow_reads_them(tmp_path: Path, options: dict[str, Any]) -> None:
    n = 700
    table = pa.table(
        {
            "prompt": [f"Is it {i}? {'yes or no' * (i % 7)}" for i in range(n)],
            "system": ["You are it." * 40] * n,
            "number": list(range(n)),
            "nothing": pa.nulls(n, pa.int32()),
            "tags": [["a", None, str(i)] if i % 3 else None for i in range(n)],
            "messages": [[{"role": "user", "content": str(i) * 20}] * (i % 4) for i in range(n)],
            "review": [{"by": "me", "stars": 1.5}] * n,
            "map": pa.array([[("key", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        }
    )
    path = tmp_path / "sound.parquet"
    pq.write_table(table, path, **options)
    file = SourceData(path.name, path.name, path.read_bytes())
    assert [row.values for row in parquet_rows(file)] == table.to_pylist()


def test_a_limit_reads_no_more_than_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "?", "positive": "yes", "negative": "no"}\n' * 3 + "not JSON\n")
    assert len(load(str(path), limit=3).items) == 3
