"""Where chat templates run: the environment that they are written for, without what would let the day, the machine or
chance into a text.

A chat template is a Jinja program from a model's folder. It is written for the environment of Hugging Face transformers
(its tags, filters and functions), whose clock cannot be set from outside, so that this is an environment of our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from caa_registry.errors import ModelError

DATE = datetime(2024, 7, 26)
"""Today, for every template: the date that Llama 3.1's own template falls back to."""

Message = Mapping[str, Any]

# What depends on the language or the time zone of a machine where the C library writes it.
_ENGLISH = {
    "%A": "Friday",
    "%a": "Fri",
    "%B": "July",
    "%b": "Jul",
    "%h": "Jul",
    "%p": "AM",
    "%P": "am",
    "%c": "Fri Jul 26 00:00:00 2024",
    "%x": "07/26/24",
    "%X": "00:00:00",
    "%r": "12:00:00 AM",
    "%s": "1721952000",
    "%Z": "UTC",
    "%z": "+0000",
}
_DIRECTIVE = re.compile(r"%[-_0^#]?[a-zA-Z%]")


def render(
    template: str, messages: Sequence[Message], special_tokens: Mapping[str, str], *, generate: bool, **variables: Any
) -> str:
    """A conversation as ``template`` writes it, up to where an answer begins if it is to ``generate`` one.

    ``variables``: more that the template may ask for. Raises whatever the template raises.
    """
    text: str = compiled(template).render(
        messages=[dict(message) for message in messages],
        tools=None,
        documents=None,
        add_generation_prompt=generate,
        date_string=strftime("%d %b %Y"),
        **variables,
        **special_tokens,
    )
    return text


@lru_cache(maxsize=32)
def compiled(template: str) -> Any:
    """The template, ready to render. Raises ``ModelError`` for one that is not Jinja."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = strftime
    # Both draw from Python's random numbers.
    del environment.filters["random"], environment.globals["lipsum"]
    try:
        return environment.from_string(template)
    except (TemplateError, RecursionError) as error:
        raise ModelError(
            f"the model's chat template cannot be read: {error}", "Choose the template plain or llama-2."
        ) from error


def strftime(form: str) -> str:
    """``DATE`` in the ``form`` that a template asks for, in English."""

    def written(match: re.Match[str]) -> str:
        directive = match[0]
        known = _ENGLISH.get(f"%{directive[-1]}")
        return known if known is not None else DATE.strftime(directive)

    return _DIRECTIVE.sub(written, form)


class _Generation(Extension):
    """The tag that marks, for training, what an assistant says. What stands between is written as it is."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
