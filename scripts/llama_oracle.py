"""llama.cpp's logits of a small llama, steered with a control vector file, for ``check_llama.py --environment``.

    python scripts/llama_oracle.py BUILD_FOLDER MODEL_FOLDER VECTORS.gguf IDS.json OUT.npz

Runs in an environment that has llama-cpp-python, gguf and safetensors; nothing of ours is imported. OUT.npz holds the
logits ``(tokens, vocabulary)`` of each text in IDS.json: ``unsteered.<text>``, ``block<N>.<text>`` with llama.cpp's
layer range N to N, and ``all.<text>`` with all layers, its default.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from safetensors.numpy import load_file

_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


# The declarations are those of common/common.h.
_SHIM = """
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>
struct common_control_vector_load_info { float strength; std::string fname; };
struct common_control_vector_data { int n_embd; std::vector<float> data; };
common_control_vector_data common_control_vector_load(const std::vector<common_control_vector_load_info> & infos);

extern "C" int64_t load(const char * path, float * into, int64_t room, int width) {
    const auto read = common_control_vector_load({{1.0f, path}});
    if (read.n_embd != width || (int64_t) read.data.size() > room) return -1;
    std::copy(read.data.begin(), read.data.end(), into);
    return read.data.size();
}
"""


def write_model(folder: Path, path: Path) -> None:
    """A llama with tied embeddings, in the folder layout of Hugging Face, as a GGUF of float32 numbers."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "llama" and config["tie_word_embeddings"], config
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    # Token ids are fed as they are.
    writer.add_tokenizer_model("no_vocab")
    for name, stored in load_file(folder / "model.safetensors").items():
        tensor = stored.astype(np.float32)
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", tensor)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", tensor)
        else:
            block, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                tensor = _rotated(tensor, heads if part == "self_attn.q_proj" else kv_heads)
            writer.add_tensor(f"blk.{block}.{_NAMES[part]}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _rotated(tensor: Any, heads: int) -> Any:
    """Rows of queries or keys as llama.cpp rotates them: neighbours, and not one in each half of a head."""
    rows, width = tensor.shape
    return np.ascontiguousarray(tensor.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2)).reshape(rows, width)


def loaded_vectors(build: Path, path: Path, width: int) -> Any:
    """The buffer that llama.cpp's own reader makes of a file, float32 ``(layers, width)``, the first row for block 1.

    ``build``: where llama.cpp was built. The reader has no C interface, so one is compiled.
    """
    (library,) = build.rglob("libllama-common.so")
    with tempfile.TemporaryDirectory() as place:
        source, shim = Path(place) / "shim.cpp", Path(place) / "shim.so"
        source.write_text(_SHIM, encoding="utf-8")
        command = ["c++", "-std=c++17", "-shared", "-fPIC", source, "-o", shim]
        subprocess.run([*command, library, f"-Wl,-rpath,{library.parent}"], check=True)
        load = ctypes.CDLL(str(shim)).load
    load.restype = ctypes.c_int64
    numbers = np.zeros(1 << 20, np.float32)
    count = load(str(path).encode(), numbers.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), numbers.size, width)
    assert count > 0 and count % width == 0, "llama.cpp does not read the control vector"
    return numbers[:count].reshape(-1, width)


class Llama:
    """A loaded GGUF model."""

    def __init__(self, path: Path) -> None:
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )  # fmt: skip
        assert self.model, "llama.cpp does not load the model"
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.width = llama_cpp.llama_model_n_embd(self.model)
        self.n_layers = llama_cpp.llama_model_n_layer(self.model)

    @contextmanager
    def _context(self) -> Iterator[Any]:
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 256
        settings.n_threads = settings.n_threads_batch = 1
        # Its cache is float16 by default, which moves logits by 1e-3.
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context = llama_cpp.llama_init_from_model(self.model, settings)
        assert context, "llama.cpp makes no context"
        try:
            yield context
        finally:
            llama_cpp.llama_free(context)

    def logits(self, ids: Sequence[int], vectors: Any = None, first: int = 1, last: int = 0) -> Any:
        """``(tokens, vocabulary)``. ``vectors``: the buffer of ``loaded_vectors``, applied from block ``first`` to
        block ``last``, both included."""
        with self._context() as context:
            if vectors is not None:
                data = vectors.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
                # llama_adapter_cvec::apply takes row il - 1 of the buffer for block il, from block 1 on;
                # build_cvec adds it to the output of that block (src/llama-adapter.cpp, src/models/llama.cpp).
                failed = llama_cpp.llama_set_adapter_cvec(
                    context, data, vectors.size, vectors.shape[1], first, last
                )  # fmt: skip
                assert not failed, "llama.cpp refuses the control vector"
            batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
            batch.n_tokens = len(ids)
            for place, token in enumerate(ids):
                batch.token[place], batch.pos[place], batch.logits[place] = token, place, 1
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            assert llama_cpp.llama_decode(context, batch) == 0, "llama.cpp does not run the text"
            found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), self.vocabulary)).copy()
            llama_cpp.llama_batch_free(batch)
        return found


def main() -> None:
    build, folder, vector_file, ids_file, out = map(Path, sys.argv[1:])
    found = {}
    with tempfile.TemporaryDirectory() as place:
        write_model(folder, Path(place) / "model.gguf")
        llama = Llama(Path(place) / "model.gguf")
        vectors = loaded_vectors(build, vector_file, llama.width)
        for number, ids in enumerate(json.loads(ids_file.read_text(encoding="utf-8"))):
            found[f"unsteered.{number}"] = llama.logits(ids)
            found[f"all.{number}"] = llama.logits(ids, vectors, 1, llama.n_layers)
            for block in range(1, llama.n_layers):
                found[f"block{block}.{number}"] = llama.logits(ids, vectors, block, block)
    np.savez(out, **found)


if __name__ == "__main__":
    main()
