"""Which dataset versions are of a behavior, and which models a name means, as conditions of a query."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, and_, false, func, or_

from caa_registry.catalog import models as t

_SURROGATE = re.compile("[\ud800-\udfff]")


def stated_behavior() -> ColumnElement[str]:
    """The behavior that the source of a dataset version states; empty where it states none."""
    return func.coalesce(t.DatasetVersion.source["behavior"].as_string(), "")


def of_behavior(behavior: str) -> ColumnElement[bool]:
    """That a dataset version, joined with its dataset, is of ``behavior``: its source states it or, where that states
    none, the name ends with it."""
    if not behavior or not storable(behavior):
        return false()
    stated, name = stated_behavior(), t.Dataset.name
    if "/" in behavior:
        return stated == behavior
    # Compared by ``substr``, since LIKE does not tell capitals from small letters on SQLite.
    ending = func.substr(name, func.length(name) - len(behavior))
    return or_(stated == behavior, and_(stated == "", or_(name == behavior, ending == f"/{behavior}")))


def of_model(model: str) -> ColumnElement[bool]:
    """That a model has the name ``model``, or a fingerprint that begins with it (8 hex digits at least)."""
    if not storable(model):
        return false()
    digits = model.removeprefix("sha256:")
    if len(digits) < 8:
        return t.Model.name == model
    beginning = f"sha256:{digits}"
    return or_(t.Model.name == model, func.substr(t.Model.fingerprint, 1, len(beginning)) == beginning)


def storable(text: str) -> bool:
    """Whether a database takes ``text`` as a parameter: it is Unicode without NUL."""
    return "\x00" not in text and not _SURROGATE.search(text)
