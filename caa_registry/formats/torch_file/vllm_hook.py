"""vLLM-Hook: a dict ``{"dir": (d_model,), "avg_proj": ...}``; its layer, a block's output, is in another file
(``optimal_layer``), so that the user says it. Not compared with a file of vLLM-Hook.
"""

from __future__ import annotations

from typing import Any

from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import one_layer
from caa_registry.formats.torch_file.pickled import SavedTensor
from caa_registry.formats.torch_file.saved import content_of, saved
from caa_registry.formats.vector_file import VectorFile

NAME = "vllm-hook"
_KEYS = {"dir", "avg_proj"}


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of such a dict."""
    return _is_hook(content_of(file))


def read(file: VectorFile) -> ImportedVectors:
    """The direction. Raises ``InputError``."""
    found = file.once(saved)
    if not _is_hook(found.content):
        raise file.error("it is no dict with 'dir' and 'avg_proj'", "Name a file of vLLM-Hook.")
    mean = found.content["avg_proj"]
    if isinstance(mean, SavedTensor):
        mean = found.values(mean, "avg_proj").numbers.reshape(-1)[:16].tolist()
    return imported(
        file,
        NAME,
        {one_layer(file): found.values(found.content["dir"], "dir")},
        "the user says which 0-based block's output it is (vLLM-Hook's optimal_layer)",
        producer="vLLM-Hook",
        scale="unknown",
        claims=Claims(statements={"avg_proj": str(mean)[:400]}),
        untested=True,
    )


def _is_hook(content: Any) -> bool:
    return isinstance(content, dict) and set(content) == _KEYS and isinstance(content["dir"], SavedTensor)
