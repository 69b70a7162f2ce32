"""Conditions of queries: of which behavior a dataset version is, which tags a version has, which models a name means,
since when something is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from caa_registry.catalog import models as t

_SURROGATE = re.compile("[\ud800-\udfff]")


def behavior(version: Any = t.DatasetVersion, dataset: Any = t.Dataset) -> ColumnElement[str]:
    """The behavior of a dataset version, joined with its dataset: what somebody said later, else what its source states
    or, where that states none, the last part of the name. ``version`` and ``dataset``: aliases of the tables, where a
    query has several."""
    name = dataset.name
    folders = func.rtrim(name, func.replace(name, "/", ""))
    last = func.substr(name, func.length(folders) + 1)
    return func.coalesce(stated_behavior(version), last)


def stated_behavior(version: Any = t.DatasetVersion) -> ColumnElement[str]:
    """The behavior that somebody stated of a dataset version, later or in its source; null where nobody did."""
    return func.coalesce(_amended("behavior", version), func.nullif(version.source["behavior"].as_string(), ""))


def licence(version: Any = t.DatasetVersion) -> ColumnElement[str]:
    """The licence of a dataset version: what somebody said later, else what it was stored with."""
    return func.coalesce(_amended("licence", version), version.licence)


def _amended(what: str, version: Any) -> ColumnElement[Any]:
    amendment = t.Amendment
    of = amendment.vector_version_id if version is t.VectorVersion else amendment.dataset_version_id
    return select(getattr(amendment, what)).where(of == version.id).correlate(version).scalar_subquery()


def vector_behavior(version: Any = t.VectorVersion) -> ColumnElement[str]:
    """The behavior of a vector version, joined with its dataset version and dataset where it has these: what somebody
    said later, else what its origin states, else that of its dataset."""
    return func.coalesce(_amended("behavior", version), version.origin["behavior"].as_string(), behavior())


def of_vector_behavior(name: str) -> ColumnElement[bool]:
    """That a vector version, joined as for ``vector_behavior``, is of the behavior ``name``."""
    return vector_behavior() == name if storable(name) else false()


def tagged(tags: Mapping[str, str] | None, version: Any) -> ColumnElement[bool]:
    """That a version, of the table ``version``, has all ``tags``."""
    tag = t.Tag
    of = tag.vector_version_id if version is t.VectorVersion else tag.dataset_version_id
    conditions = [
        exists().where(of == version.id, tag.key == key, tag.value == value).correlate(version)
        if storable(key) and storable(value)
        else false()
        for key, value in (tags or {}).items()
    ]
    return and_(true(), *conditions)


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
