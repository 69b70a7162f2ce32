"""docs/tested-architectures.md lists what is tested, refused and limited; nothing of mlx-lm is left out."""

from __future__ import annotations

import ast
import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from support.architectures import ARCHITECTURES, family
from support.architectures_limits import (
    BESIDE_THE_STREAM,
    MLX_LM,
    NOT_ON_A_CPU,
    NOT_QUANTIZED,
    ONE_LENGTH,
    RECOMPUTED_DIFFERS,
    REFUSED_BY_THE_SELF_TEST,
)
from support.architectures_refused import REFUSED

from caa_registry.models.unsupported import UNSUPPORTED

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tested-architectures.md"
TESTED = {family(name) for name in ARCHITECTURES}


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


def rows(title: str) -> dict[str, str]:
    """The table of a section: name to reason."""
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section(title), re.MULTILINE))


def test_the_tested_architectures_are_listed() -> None:
    text = section("Tested")
    items = re.findall(r"^- .+\n(?:  .+\n)+", text, re.MULTILINE)
    listed = re.findall(r"`([^`]+)`", "".join(items))
    assert sorted(listed, key=str.lower) == sorted(TESTED, key=str.lower)
    assert f"{len(TESTED)} architectures in {len(ARCHITECTURES)} configurations" in text
    assert f"mlx-lm {MLX_LM}" in text


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("Refused", {**UNSUPPORTED, **REFUSED_BY_THE_SELF_TEST}),
        ("Not testable on a CPU", NOT_ON_A_CPU),
        ("Beside the stream", BESIDE_THE_STREAM),
        ("Generation with and without a cache", RECOMPUTED_DIFFERS),
        ("Answers in batches", ONE_LENGTH),
        ("Quantization", NOT_QUANTIZED),
    ],
)
def test_the_exceptions_are_listed_with_their_reasons(title: str, table: dict[str, str]) -> None:
    assert rows(title) == table


def test_what_is_refused_is_tested() -> None:
    assert {family(name) for name in REFUSED} == {*UNSUPPORTED, *REFUSED_BY_THE_SELF_TEST}
    assert len(ARCHITECTURES) >= 100


@pytest.mark.skipif(version("mlx-lm") != MLX_LM, reason=f"the list is that of mlx-lm {MLX_LM}")
def test_no_architecture_of_mlx_lm_is_left_out() -> None:
    spec = importlib.util.find_spec("mlx_lm.models")
    assert spec is not None and spec.submodule_search_locations
    (folder,) = spec.submodule_search_locations
    offered = set()
    for path in Path(folder).glob("*.py"):
        # Read, not imported: one of them ends the process.
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.ImportFrom):
                named = [alias.asname or alias.name for alias in node.names]
            if "Model" in named:
                offered.add(path.stem)
    known = TESTED | {family(name) for name in REFUSED} | set(NOT_ON_A_CPU)
    assert offered == known
