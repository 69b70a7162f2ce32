"""Conditions of queries: of which behavior a dataset version is, which models a name means, since when something is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, false, func, or_
from sqlalchemy.orm import InstrumentedAttribute

from caa_registry.catalog import models as t

_SURROGATE = re.compile("[\ud800-\udfff]")


def behavior(version: Any = t.DatasetVersion, dataset: Any = t.Dataset) -> ColumnElement[str]:
    """The behavior of a dataset version, joined with its dataset: what its source states or, where that states none,
    the last part of the name. ``version`` and ``dataset``: aliases of the tables, where a query has several."""
    name = dataset.name
    folders = func.rtrim(name, func.replace(name, "/", ""))
    last = func.substr(name, func.length(folders) + 1)
    return func.coalesce(func.nullif(version.source["behavior"].as_string(), ""), last)


def vector_behavior(version: Any = t.VectorVersion) -> ColumnElement[str]:
    """The behavior of a vector version, joined with its dataset version and dataset where it has these: what its origin
    states, else that of its dataset."""
    return func.coalesce(version.origin["behavior"].as_string(), behavior())


def of_vector_behavior(name: str) -> ColumnElement[bool]:
    """That a vector version, joined as for ``vector_behavior``, is of the behavior ``name``."""
    return vector_behavior() == name if storable(name) else false()


def of_model(model: str) -> ColumnElement[bool]:
    """That a model has the name ``model``, or a fingerprint that begins with it (8 hex digits at least)."""
    if not storable(model):
        return false()
    digits = model.removeprefix("sha256:")
    if len(digits) < 8:
        return t.Model.name == model
    beginning = f"sha256:{digits}"
    return or_(t.Model.name == model, func.substr(t.Model.fingerprint, 1, len(beginning)) == beginning)


def since(column: InstrumentedAttribute[datetime], moment: datetime) -> ColumnElement[bool]:
    """That ``column`` is ``moment`` or later; with no time zone that is UTC."""
    return column >= (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)


def storable(text: str) -> bool:
    """Whether a database takes ``text`` as a parameter: it is Unicode without NUL."""
    return "\x00" not in text and not _SURROGATE.search(text)
