"""Whether a network has a row for every token that its tokenizer can produce: MLX reads past a matrix unasked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError
from caa_registry.models.folder.shards import few

# Tables that are asked for positions or hashes, not for tokens.
_OTHERS = re.compile(r"wpe|pos|embedders|vision|type_emb")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def check_vocabulary(folder: Path, network: Any, tokenizer: Any, vocabulary: int) -> None:
    """Raise ``ModelError`` where the tokenizer of Hugging Face ``tokenizer`` can produce a token, or ``network`` choose
    one of its ``vocabulary`` logits, that an embedding of the network has no row for.

    An embedding with more rows than there are tokens is common, and fine. So are tokens that no text becomes.
    """
    tables = dict(token_tables(network))
    if not tables:
        tables = {"the network": vocabulary}
    name = min(tables, key=lambda each: tables[each])
    rows = tables[name]
    if vocabulary > rows:
        raise ModelError(
            f"{folder}: its network scores {vocabulary:,} tokens, and its embedding ({name}) has {rows:,} rows",
            "Fetch config.json and the weights again, from the same model.",
        )
    beyond = {str(token): int(id) for token, id in tokenizer.get_vocab().items() if id >= rows}
    produced = {beyond[token]: repr(token) for token in _producible(tokenizer, beyond)}
    # What is put around every text goes by its id alone.
    around = tokenizer("a", add_special_tokens=True, verbose=False)["input_ids"]
    produced |= {id: produced.get(id, "what stands around every text") for id in around if id >= rows}
    if produced:
        tokens = few(f"{token} ({id})" for id, token in produced.items())
        raise ModelError(
            f"{folder}: its tokenizer produces ids up to {max(produced):,}, and its embedding ({name}) has {rows:,} "
            f"rows: none for {tokens}",
            "Use the tokenizer that belongs to these weights, or take these tokens out of its files.",
        )


def token_tables(network: Any) -> Iterator[tuple[str, int]]:
    """The embeddings of ``network`` that are asked for tokens, and how many rows each has."""
    for name, module in network.named_modules():
        if "Embedding" in type(module).__name__ and "weight" in module and not _OTHERS.search(name):
            yield name, int(module.weight.shape[0])


def _producible(tokenizer: Any, tokens: Iterable[str]) -> set[str]:
    """Those of ``tokens`` that some text becomes. A vocabulary of merged pairs may hold others."""
    names = set(tokens)
    if not names:
        return names
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    model = settings["model"]
    if model.get("type") != "BPE" or any(
        model.get(key) for key in ("ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    ):
        return names
    merged = {"".join(pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in model["merges"]}
    others = {token["content"] for token in settings["added_tokens"]} | {model.get("unk_token")}
    return {name for name in names if len(name) == 1 or name in merged or name in others or _BYTE.fullmatch(name)}
