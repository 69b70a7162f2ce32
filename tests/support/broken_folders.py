"""Model folders with one fault each: ``FAULTS[name].damage(folder)`` breaks a sound one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

WEIGHTS, TOKENIZER, INDEX = "model.safetensors", "tokenizer.json", "model.safetensors.index.json"
NORM, EMBEDDING, QUERY = "model.norm.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345678\n"


@dataclass(frozen=True)
class Fault:
    """``says``: what the message must match. ``options``: those of ``tiny_models.build``. ``endless``: takes endless
    time or memory where nothing stops it."""

    damage: Callable[[Path], object]
    says: str
    options: tuple[tuple[str, Any], ...] = ()
    endless: bool = False


def write(name: str, text: str | bytes) -> Callable[[Path], object]:
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def change(name: str, **values: Any) -> Callable[[Path], object]:
    """Set keys of a JSON file; ``...`` removes one."""

    def damage(folder: Path) -> None:
        path = folder / name
        stored = {**json.loads(path.read_text(encoding="utf-8")), **values}
        path.write_text(json.dumps({key: value for key, value in stored.items() if value is not ...}), encoding="utf-8")

    return damage


def config(**values: Any) -> Callable[[Path], object]:
    return change("config.json", **values)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else of that name."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def tensors(edit: Callable[[dict[str, mx.array]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        stored = dict(mx.load(str(folder / WEIGHTS)))
        mx.eval(stored)
        edit(stored)
        mx.save_safetensors(str(folder / WEIGHTS), stored)

    return damage


def stored_as(name: str, dtype: str) -> Callable[[Path], object]:
    """One tensor as another dtype of the format, which MLX itself may not know."""

    def damage(folder: Path) -> None:
        size = {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "BOOL": 1, "I32": 4, "F64": 8, "C64": 8}[dtype]
        data = (folder / WEIGHTS).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        parts, end = [], 0
        for key in sorted((k for k in header if k != "__metadata__"), key=lambda k: header[k]["data_offsets"][0]):
            first, last = header[key]["data_offsets"]
            part = body[first:last]
            if key == name:
                header[key]["dtype"] = dtype
                part = bytes([1]) * (int(np.prod(header[key]["shape"])) * size)
            header[key]["data_offsets"] = [end, end + len(part)]
            end += len(part)
            parts.append(part)
        text = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))

    return damage


def header(edit: Callable[[str], str]) -> Callable[[Path], object]:
    """Another text in the header of the weights."""

    def damage(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        text = edit(data[8 : 8 + length].decode()).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def index(entries: dict[str, str]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        names = dict.fromkeys(mx.load(str(folder / WEIGHTS)), WEIGHTS)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {**names, **entries}}), encoding="utf-8")

    return damage


def second_file(name: str, keys: tuple[str, ...]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        stored = mx.load(str(folder / WEIGHTS))
        mx.save_safetensors(str(folder / name), {key: stored[key] for key in keys})

    return damage


def tokenizer(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        stored = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        edit(stored)
        (folder / TOKENIZER).write_text(json.dumps(stored), encoding="utf-8")

    return damage


def added(id: int, content: str) -> Callable[[dict[str, Any]], object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return lambda stored: stored["added_tokens"].append({"id": id, "content": content, "special": True, **flags})


def around(id: int) -> dict[str, Any]:
    """A post-processor that puts one id before every text."""
    special = {"<s>": {"id": "<s>", "ids": [id], "tokens": ["<s>"]}}
    parts = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": special}


def multiplied(pattern: dict[str, str]) -> dict[str, Any]:
    steps = [{"type": "Replace", "pattern": pattern, "content": "a" * 100} for _ in range(8)]
    return {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": pattern, "content": "a"}, *steps]}


LOOPS = "{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}" + (
    "{% endfor %}{% endfor %}{{ messages[0]['content'] }}"
)
DOUBLES = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
QUANTIZED = (("bits", 4),)
# As many as the tokenizer has tokens.
ROWS = 374
FEW_ROWS = (("vocab_size", ROWS),)

FAULTS: dict[str, Fault] = {
    # config.json
    "no config": Fault(remove("config.json"), "no config.json"),
    "empty config": Fault(write("config.json", ""), r"config\.json: is empty"),
    "config cut off": Fault(cut("config.json"), r"config\.json: is not JSON"),
    "config is a list": Fault(write("config.json", "[]"), r"config\.json: is not a JSON object"),
    "config in UTF-16": Fault(write("config.json", '{"a": "ä"}'.encode("utf-16")), r"config\.json: is not in UTF-8"),
    "a key twice": Fault(write("config.json", '{"model_type": "llama", "a": 1, "a": 2}'), "'a' appears twice"),
    "deep config": Fault(config(deep=json.loads("[" * 90 + "]" * 90)), r"config\.json: is nested too deep"),
    "endless config": Fault(write("config.json", "[" * 10**6), r"config\.json: is nested too deep"),
    "long config": Fault(
        write("config.json", b" " * 100_000_000), r"config\.json: has 100,000,000 bytes", endless=True
    ),
    "config is a folder": Fault(instead("config.json", Path.mkdir), "no config.json"),
    "config is a pointer": Fault(write("config.json", POINTER), r"config\.json: is a Git LFS pointer(.|\n)*lfs pull"),
    "no model type": Fault(config(model_type=...), "model_type is missing"),
    "model type is a path": Fault(config(model_type="..evil"), "model_type is '..evil'"),
    "unknown architecture": Fault(config(model_type="no_such"), "Model type no_such not supported"),
    "no architecture": Fault(config(model_type="cache"), "Model type cache not supported"),
    "code": Fault(config(model_file="evil.py"), "code in a model folder is never run"),
    "code of an unknown architecture": Fault(
        config(model_type="evil", auto_map={"AutoModel": "evil.M"}), "Model type evil not supported"
    ),
    # headers and settings of endless parts
    "header names a tensor twice": Fault(
        header(lambda text: '{"model.norm.weight": {},' + text.lstrip()[1:]),
        "the key 'model.norm.weight' appears twice",
    ),
    "header of endless parts": Fault(
        header(lambda text: '{"__metadata__": [' + "[]," * 2_000_000 + "[]]}"),
        "more than 1,000,000 lists",
        endless=True,
    ),
    "tensor of many axes": Fault(
        header(lambda text: text.replace('"shape":[', '"shape":[' + "1," * 1000, 1)), "axes, more than 8"
    ),
    "config of endless parts": Fault(
        config(extra=[[]] * 2_000_000), "has more than 1,000,000 lists and objects", endless=True
    ),
    "no context": Fault(config(max_position_embeddings=0), "max_position_embeddings is 0"),
    "long model type": Fault(config(model_type="x" * 9000), "Model type x{60} not supported"),
    "another mode": Fault(
        config(quantization={"bits": 4, "group_size": 32, "mode": "mxfp4"}), r"\(mxfp4\), and they are", QUANTIZED
    ),
    "mode of nobody": Fault(
        config(quantization={"bits": 4, "group_size": 32, "mode": "none"}), r"\(none\), and they are", QUANTIZED
    ),
    # absurd numbers
    "too many layers": Fault(config(num_hidden_layers=10**7), "num_hidden_layers is 10,000,000", endless=True),
    "far too many layers": Fault(config(num_hidden_layers=10**12), "num_hidden_layers is 1,000,0", endless=True),
    "many layers": Fault(config(num_hidden_layers=900), "tensors are missing", endless=True),
    "wide": Fault(config(hidden_size=10**9), "hidden_size is 1,000,000,000", endless=True),
    "wide within limits": Fault(config(hidden_size=2**24, head_dim=2**22), "has the shape", endless=True),
    "vocabulary": Fault(config(vocab_size=10**12), "vocab_size is 1,000,000,000,000", endless=True),
    "endless number": Fault(
        write("config.json", '{"model_type":"llama","hidden_size":' + "9" * 5000 + "}"), "is not JSON"
    ),
    "negative width": Fault(config(hidden_size=-64), "hidden_size is -64"),
    "no heads": Fault(config(num_attention_heads=0), "num_attention_heads is 0"),
    "negative middle": Fault(config(intermediate_size=-96), "intermediate_size is -96"),
    "text for a number": Fault(config(rms_norm_eps="1e-5"), "rms_norm_eps is '1e-5', not a number"),
    "null for a number": Fault(config(hidden_size=None), "hidden_size is null, not a number"),
    "list for a number": Fault(config(num_hidden_layers=[3]), "num_hidden_layers is \\[3\\], not a number"),
    "text for an object": Fault(config(text_config="x"), "text_config is 'x', not an object"),
    "text for an id": Fault(config(eos_token_id="</s>"), "eos_token_id is '</s>', not a number"),
    "text for an id of generation": Fault(
        write("generation_config.json", '{"eos_token_id": ["x"]}'), r"generation_config\.json: eos_token_id is \['x'\]"
    ),
    "cannot be run": Fault(config(rope_theta=[1.0]), "llama: cannot be run on tokens alone"),
    "not a number": Fault(config(rms_norm_eps=float("nan")), "rms_norm_eps is nan"),
    "infinite": Fault(config(rope_theta=1.0, rms_norm_eps=float("inf")), "rms_norm_eps is inf"),
    # quantization
    "bits that are none": Fault(config(quantization={"bits": 5000, "group_size": 32}), "quantization.bits is 5,000"),
    "quantization is text": Fault(config(quantization="4 bits"), "quantization is '4 bits'"),
    "said to be quantized": Fault(config(quantization={"bits": 4, "group_size": 32}), "and they are not quantized"),
    "quantized in silence": Fault(
        config(quantization=...), "tensors are in its weights, but not in the network", QUANTIZED
    ),
    "other bits": Fault(config(quantization={"bits": 8, "group_size": 64}), "they are 4 bits in groups", QUANTIZED),
    "packed as int8": Fault(stored_as(QUERY, "I8"), f"{QUERY} is stored as I8", QUANTIZED),
    # weights
    "no weights": Fault(remove(WEIGHTS), "no weights"),
    "other weights": Fault(instead(WEIGHTS, lambda path: (path.parent / "w.gguf").touch()), "only w.gguf"),
    "pickled weights": Fault(
        instead(WEIGHTS, lambda path: (path.parent / "pytorch_model.bin").touch()), "only pytorch_model.bin"
    ),
    "weights are a pointer": Fault(write(WEIGHTS, POINTER), r"model\.safetensors: is a Git LFS pointer"),
    "weights are a folder": Fault(instead(WEIGHTS, Path.mkdir), r"model\.safetensors: is a folder"),
    "weights are a pipe": Fault(instead(WEIGHTS, os.mkfifo), r"model\.safetensors: is not a regular file"),
    "template is a pipe": Fault(instead("chat_template.jinja", os.mkfifo), r"\.jinja: is not a regular file"),
    "settings are a pipe": Fault(instead("tokenizer_config.json", os.mkfifo), r"_config\.json: is not a regular file"),
    "dangling link": Fault(
        instead(WEIGHTS, lambda path: path.symlink_to("gone")), r"model\.safetensors: cannot be read"
    ),
    "empty weights": Fault(write(WEIGHTS, b""), r"model\.safetensors: .* 0 bytes"),
    "weights cut off": Fault(cut(WEIGHTS), r"model\.safetensors: ends early"),
    "noise": Fault(write(WEIGHTS, b"\xff" * 64), "is not a safetensors file"),
    "a tensor missing": Fault(tensors(lambda t: t.pop(NORM)), f"1 tensor is missing from its weights: {NORM}"),
    "a tensor too many": Fault(
        tensors(lambda t: t.update(odd=mx.ones(3))), "1 tensor is in its weights, but not in the network: odd"
    ),
    "all misnamed": Fault(
        tensors(lambda t: [t.update({f"x.{k}": t.pop(k)}) for k in list(t)]), "tensors are missing .* and 2. more"
    ),
    "another shape": Fault(tensors(lambda t: t.update({NORM: mx.ones(63)})), rf"{NORM} has the shape \[63\]"),
    "no size": Fault(
        tensors(lambda t: t.update({EMBEDDING: mx.zeros((0, 64))})), rf"{EMBEDDING} has the shape \[0, 64"
    ),
    "fewer layers said": Fault(config(num_hidden_layers=2), "in its weights, but not in the network: .* and 6 more"),
    "F8": Fault(stored_as(QUERY, "F8_E4M3"), f"{QUERY} is stored as F8_E4M3"),
    "F8 of the other kind": Fault(stored_as(QUERY, "F8_E5M2"), f"{QUERY} is F8_E5M2"),
    "int8": Fault(stored_as(QUERY, "I8"), f"{QUERY} is stored as I8"),
    "int8 norm": Fault(stored_as(NORM, "I32"), f"{NORM} is stored as I32"),
    "truth values": Fault(stored_as(QUERY, "BOOL"), f"{QUERY} is stored as BOOL"),
    "complex": Fault(stored_as(QUERY, "C64"), f"{QUERY} is stored as C64"),
    "F64": Fault(stored_as(QUERY, "F64"), f"{QUERY} is F64"),
    # several files
    "a file of the index missing": Fault(index({NORM: "model-2.safetensors"}), r"files are missing: model-2"),
    "a part missing": Fault(
        instead(WEIGHTS, lambda path: (path.parent / "model-00001-of-00003.safetensors").touch()),
        "missing: model-00002-of-00003.safetensors, model-00003-of-00003.safetensors",
    ),
    "index is cut off": Fault(write(INDEX, '{"weight_map": {'), r"index\.json: is not JSON"),
    "index names no files": Fault(write(INDEX, '{"weight_map": {"a": 1}}'), "is not an object of file names"),
    "index leads out": Fault(index({NORM: "../model.safetensors"}), "outside its folder"),
    "index contradicts": Fault(index({"odd.weight": WEIGHTS}), "does not hold the tensor odd.weight"),
    "a tensor twice": Fault(
        second_file("model-extra.safetensors", (NORM,)), f"{NORM} is in both model-extra.safetensors and {WEIGHTS}"
    ),
    # the tokenizer
    "no tokenizer": Fault(remove(TOKENIZER), "no tokenizer"),
    "tokenizer cut off": Fault(cut(TOKENIZER), r"tokenizer\.json: cannot be read as a tokenizer"),
    "tokenizer is no JSON": Fault(write(TOKENIZER, "tokens"), r"tokenizer\.json: cannot be read as a tokenizer"),
    "tokenizer is a pointer": Fault(write(TOKENIZER, POINTER), r"tokenizer\.json: is a Git LFS pointer"),
    "length is a text": Fault(
        change("tokenizer_config.json", model_max_length="x" * 1000),
        r"tokenizer_config\.json: model_max_length is 'x+, not a number",
    ),
    "broken settings": Fault(cut("tokenizer_config.json"), r"tokenizer_config\.json: is not JSON"),
    "template is a pointer": Fault(
        write("chat_template.jinja", POINTER), r"chat_template\.jinja: is a Git LFS pointer"
    ),
    "template is no text": Fault(write("chat_template.jinja", b"\xff\xfe"), r"chat_template\.jinja: is not in UTF-8"),
    "token without a row": Fault(
        tokenizer(added(ROWS, "<far>")), rf"up to {ROWS}, .* {ROWS} rows: none for '<far>' \({ROWS}\)", FEW_ROWS
    ),
    "merged token without a row": Fault(
        tokenizer(lambda t: (t["model"]["vocab"].update(zz=7000), t["model"]["merges"].append(["z", "z"]))),
        r"up to 7,000, .* 400 rows: none for 'zz' \(7000\)",
    ),
    "special token without an id": Fault(
        change("tokenizer_config.json", pad_token="<none>"), f"{ROWS} rows: none for '<none>'", FEW_ROWS
    ),
    "id around every text": Fault(
        tokenizer(lambda t: t.update(post_processor=around(500))),
        r"400 rows: none for what stands around every text \(500\)",
    ),
    "fewer rows": Fault(
        lambda f: (
            tensors(lambda t: t.update({k: t[k][:100] for k in (EMBEDDING, "lm_head.weight")}))(f),
            config(vocab_size=100)(f),
        ),
        "100 rows: none for .* and .* more",
    ),
    # what does not end
    "endless template": Fault(write("chat_template.jinja", LOOPS), "this chat template does not end", endless=True),
    "endless template in settings": Fault(
        change("tokenizer_config.json", chat_template=LOOPS), "this chat template does not end", endless=True
    ),
    "endless template of a processor": Fault(
        write("processor_config.json", json.dumps({"chat_template": LOOPS})),
        r"processor_config\.json: this chat template does not end",
        endless=True,
    ),
    "template that grows": Fault(write("chat_template.jinja", DOUBLES), "this chat template takes more", endless=True),
    "endless second template": Fault(
        change(
            "tokenizer_config.json",
            chat_template=[
                {"name": "default", "template": "{{ messages[0]['content'] }}"},
                {"name": "rag", "template": LOOPS},
            ],
        ),
        "this chat template does not end",
        endless=True,
    ),
    "text that grows": Fault(
        tokenizer(lambda t: t.update(normalizer=multiplied({"Regex": "."}))),
        "this tokenizer (takes more|does not end)",
        endless=True,
    ),
    "padding": Fault(
        tokenizer(
            lambda t: t.update(
                padding={
                    "strategy": {"Fixed": 10**10},
                    "direction": "Right",
                    "pad_to_multiple_of": None,
                    "pad_id": 0,
                    "pad_type_id": 0,
                    "pad_token": "<s>",
                }
            )
        ),
        "this tokenizer (takes more|does not end)",
        endless=True,
    ),
    "slow expression": Fault(
        tokenizer(
            lambda t: t.update(
                normalizer={"type": "Replace", "pattern": {"Regex": "(a|a)*(a|a)*(a|a)*$x"}, "content": ""}
            )
        ),
        "this tokenizer (does not end|takes more|ends)",
        endless=True,
    ),
}
