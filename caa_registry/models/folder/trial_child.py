"""The trial of a tokenizer and its chat templates, run by ``trial`` as a process of its own, which may be killed.

It imports no part of this package, so that it starts at once. From stdin it takes a JSON object: ``tokenizer``, the
path of a tokenizer.json or null, ``templates``, a list of texts, ``variables`` of the templates, and ``memory``, in
bytes. It says on stdout what it is about to do, a line each, and ``done`` at the end. What ends with an error is
judged where it is used, except a tokenizer that cannot be read.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

# Of computing, for each part of the trial, and how many bytes of a tokenizer are read in one more.
_SECONDS = 3
_BYTES_A_SECOND = 10_000_000

_TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs. Is it (A) or (B)?\n\nAnswer: (A)",
    "a" * 400 + "!",
    "ab" * 200 + "\n",
    " " * 400 + "x",
    "\n\t" * 100 + ".",
    "0123456789" * 40 + "a",
    "!?.,-_'\"()[]{}<>/" * 20,
    "Grüße, żółw, 你好世界, こんにちは, مرحبا, नमस्ते, 🙂🏳️‍🌈, \u00a0\u200b\u0301 ﬁ Ⅷ" * 4,
)
_SYSTEM = {"role": "system", "content": "You are helpful."}
_USER = {"role": "user", "content": "Is the sky blue?\n (A) Yes\n (B) No"}
_ANSWER = {"role": "assistant", "content": "(A)"}
_CONVERSATIONS = ([_USER], [_SYSTEM, _USER], [_SYSTEM, _USER, _ANSWER], [_USER, _ANSWER, _USER])


def _limit_memory(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS has no such limit; the parent looks at the memory
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _limit_seconds(seconds: int) -> None:
    """Have the process killed once it has computed for so many more."""
    limit = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def _try_tokenizer(path: str) -> None:
    from tokenizers import Tokenizer

    _limit_seconds(_SECONDS + Path(path).stat().st_size // _BYTES_A_SECOND)
    try:
        tokenizer = Tokenizer.from_file(path)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 (the library raises Exception itself)
        _say(f"unreadable {' '.join(str(error).split())[:300]}")
        sys.exit(0)
    _limit_seconds(_SECONDS)
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor, tokenizer.decoder)
    # What it replaces or splits at is what it can be slow at.
    said = [text for part in parts if part is not None for text in _strings(json.loads(part.__getstate__()))]
    texts = [*_TEXTS, *list(dict.fromkeys(said))[:200]]
    for text in [*texts, " ".join(texts)]:
        try:
            tokenizer.decode(tokenizer.encode(text).ids)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 (a tokenizer may refuse a text)
            continue


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key != "type" for text in _strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return [value[:400]] if isinstance(value, str) and value else []


def _environment() -> Any:
    """Like that of transformers."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 (jinja2 wants a class variable)

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _try_template(environment: Any, text: str, variables: dict[str, Any]) -> None:
    try:
        template = environment.from_string(text)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (judged by who renders)
        return
    for messages in _CONVERSATIONS:
        for prompt in (True, False):
            given: dict[str, Any] = {"messages": messages, "add_generation_prompt": prompt, "enable_thinking": False}
            given |= {"tools": None, "documents": None, "date_string": "26 Jul 2024"}
            try:
                template.render(**variables, **given)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 (a template may refuse a conversation)
                continue


def main() -> None:
    task = json.load(sys.stdin)
    _limit_memory(task["memory"])
    try:
        if task["tokenizer"] is not None:
            _say("tokenizer")
            _try_tokenizer(task["tokenizer"])
        environment = _environment() if task["templates"] else None
        for index, text in enumerate(task["templates"]):
            _say(f"template {index}")
            _limit_seconds(_SECONDS)
            _try_template(environment, text, task["variables"])
    except MemoryError:
        _say("memory")
        return
    _say("done")


if __name__ == "__main__":
    main()
