"""Where a model folder may keep its chat template beside the places that transformers reads for a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError

_KEY = "chat_template"
_NAMED = {"name", "template"}
PROCESSOR_FILES = ("chat_template.json", "processor_config.json")
"""Written for processors, which models that see or hear have around their tokenizer."""


def complete_template(folder: Path, tokenizer: Any) -> None:
    """Give ``tokenizer``, if it came without a chat template, the one that ``folder`` keeps elsewhere.

    Raises ``ModelError`` where such a file cannot be read.
    """
    for path in (folder / name for name in PROCESSOR_FILES):
        if tokenizer.chat_template or not path.is_file():
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: cannot be read: {error}", "Fetch it again.") from error
        template = values.get(_KEY) if isinstance(values, dict) else values
        if isinstance(template, list) and all(isinstance(each, dict) and set(each) >= _NAMED for each in template):
            template = {each["name"]: each["template"] for each in template}
        if template and not isinstance(template, str | dict):
            raise ModelError(f"{path}: its {_KEY} is not text", "Fetch it again.")
        tokenizer.chat_template = template or None
