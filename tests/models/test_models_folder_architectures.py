"""The checks of a model folder refuse no architecture that can be built."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import mlx.core as mx
import pytest
from support.architectures import ARCHITECTURES, family
from support.architectures_refused import REFUSED

from caa_registry.models.folder.build import bounded
from caa_registry.models.folder.limits import check_config, misfit
from caa_registry.models.folder.vocabulary import token_tables
from caa_registry.models.stream import ResidualStream

ALL = {**ARCHITECTURES, **REFUSED}


@pytest.mark.parametrize("name", ALL)
def test_a_sound_config_passes(name: str) -> None:
    with patch.dict(sys.modules, {"hf_olmo": ModuleType("hf_olmo")}):
        module = importlib.import_module(f"mlx_lm.models.{family(name)}")
    config = ALL[name]
    path = Path("model/config.json")
    check_config(path, config)
    assert misfit(config, module.ModelArgs) == ""
    with bounded(Path("model")):
        network = module.Model(module.ModelArgs.from_dict(config))
    tables = dict(token_tables(network))
    assert tables
    if name in ARCHITECTURES:
        mx.eval(network.parameters())
        assert min(tables.values()) >= ResidualStream(network).vocabulary
