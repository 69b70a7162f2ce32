"""A tokenizer and its chat templates, tried before they are used: both are programs, and may not end.

A process of its own encodes a few texts and renders a few conversations within limits of time and memory
(``trial_child``). What has passed is remembered by its content, so that only the first load pays.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from caa_registry.digests import digest_file, digest_object
from caa_registry.disk import is_own, keep
from caa_registry.errors import ModelError
from caa_registry.models.folder import trial_child
from caa_registry.models.folder.json_files import json_object
from caa_registry.models.rendering.sources import PROCESSOR_FILES
from caa_registry.settings import home

# Raised with every change that tries more.
_TRIAL = 1
# Computing is bounded more closely by the process itself; this is for one that waits.
_SECONDS = 60
_MEMORY = 600_000_000
# What a tokenizer takes for each byte of its file.
_EXPANSION = 12
_LARGEST_TOKENIZER = 128_000_000
_LARGEST_TEMPLATE = 4_000_000
_LOOK_SECONDS = 0.05
_passed: set[str] = set()
_log = logging.getLogger(__name__)
_HINT = "Use the files of the model's publisher, or correct them."


def try_tokenizer(folder: Path) -> None:
    """Raise ``ModelError`` where the tokenizer.json or a chat template of ``folder`` cannot be read, does not end,
    takes endless memory, or ends its process."""
    path = folder / "tokenizer.json"
    tokenizer = path if path.is_file() else None
    if tokenizer is not None and (size := tokenizer.stat().st_size) > _LARGEST_TOKENIZER:
        raise ModelError(f"{path}: has {size:,} bytes, more than any tokenizer (at most {_LARGEST_TOKENIZER:,})", _HINT)
    settings = json_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    templates = _templates(folder, settings)
    tokens = {name: token for name, token in settings.items() if name.endswith("_token")}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in tokens.items()}
    variables = {name: text for name, text in texts.items() if isinstance(text, str)}
    parts = {
        "trial": _TRIAL,
        "tokenizer": digest_file(tokenizer) if tokenizer else "",
        "templates": list(templates.values()),
        "variables": variables,
    }
    digest = digest_object("trial", parts)
    passed = home() / "cache" / "tried-tokenizers" / digest.removeprefix("sha256:")
    if digest in _passed or is_own(passed):
        return
    _run(
        folder,
        list(templates),
        {
            "tokenizer": str(tokenizer) if tokenizer else None,
            "templates": list(templates.values()),
            "variables": variables,
            "memory": _MEMORY + _EXPANSION * (tokenizer.stat().st_size if tokenizer else 0),
        },
    )
    _passed.add(digest)
    try:
        keep(passed, b"")
    except OSError:
        return  # a cache: where it cannot be written the next process tries again


def _templates(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """The chat templates in ``folder``, by where they stand."""
    found: dict[str, str] = {}
    stored = [("tokenizer_config.json", settings.get("chat_template"))]
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            stored.append((name, json_object(folder / name).get("chat_template")))
    for name, value in stored:
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            text = item.get("template") if isinstance(item, dict) else item
            if isinstance(text, str):
                found[name if index == 0 else f"{name}, template {index + 1}"] = text
    for file in [*folder.glob("*.jinja"), *folder.glob("additional_chat_templates/*.jinja")]:
        if file.stat().st_size > _LARGEST_TEMPLATE:
            raise ModelError(f"{file}: has {file.stat().st_size:,} bytes, more than any chat template", _HINT)
        try:
            found[str(file.relative_to(folder))] = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{file}: is not in UTF-8 (byte {error.start:,})", _HINT) from error
    return found


def _run(folder: Path, names: list[str], task: dict[str, Any]) -> None:
    if not sys.executable:  # Python is part of another program
        _log.warning("%s: its tokenizer is not tried, since no Python can be started here", folder)
        return
    # -P: the modules beside the script are not what its imports mean.
    command = [sys.executable, "-P", str(Path(trial_child.__file__))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as process:
        try:
            outgrown = _wait(process, json.dumps(task), task["memory"])
        finally:
            process.kill()
        assert process.stdout is not None
        steps = process.stdout.read().splitlines()
    if not steps:
        _log.warning("%s: its tokenizer could not be tried: %s does not run", folder, " ".join(command))
        return
    if steps[-1] == "done":
        return
    kind, _, about = next(step for step in reversed(steps) if step != "memory").partition(" ")
    path = folder / "tokenizer.json"
    if kind == "unreadable":
        raise ModelError(f"{path}: cannot be read as a tokenizer: {about}", _HINT)
    subject = f"{folder / names[int(about)]}: this chat template" if kind == "template" else f"{path}: this tokenizer"
    status = process.returncode
    if steps[-1] == "memory" or outgrown or status == -signal.SIGABRT:
        raise ModelError(f"{subject} takes more than {task['memory'] / 1e9:.1f} GB of memory on a short text", _HINT)
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ModelError(f"{subject} does not end within seconds on a short text", _HINT)
    raise ModelError(f"{subject} ends the process that tries it (exit status {status})", _HINT)


def _wait(process: subprocess.Popen[str], task: str, memory: int) -> bool:
    """Whether ``process`` took more than ``memory``. It has ended afterwards, or is to be killed."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(task)
        process.stdin.close()
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        try:
            process.wait(_LOOK_SECONDS)
            return False
        except subprocess.TimeoutExpired:
            try:
                if psutil.Process(process.pid).memory_info().rss > memory:
                    return True
            except psutil.Error:
                continue
    return False
