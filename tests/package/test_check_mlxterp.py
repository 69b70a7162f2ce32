"""The numbers of mlxterp's tutorial on real models, as its own code gave them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import check_mlxterp


@pytest.mark.parametrize("name", ["demo_f32", "stories260K", "tinytalk-3m-chat"])
def test_vectors_and_next_tokens_are_those_of_mlxterp(name: str, shared: Path) -> None:
    found = check_mlxterp.differences(check_mlxterp.ours(check_mlxterp.models()[name]), check_mlxterp.recorded(name))
    assert found["vectors"] < 1e-5 and found["logits"] < 1e-5
    # Its softmax is float32: on the last model its probabilities are as far from those computed in float64.
    assert found["probabilities"] < (2e-5 if name == "tinytalk-3m-chat" else 1e-5)
