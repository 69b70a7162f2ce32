"""Whether texts, licences, behaviors and tags are as the last events about them say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.registry.maintenance.checkup import OWNED, Checkup

_SAID = ("licence", "behavior")


class Said:
    """What events left behind, by what it is of: (kind, name) of texts, (kind, version, key) of all else."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}
        self._amended: dict[tuple[str, str, str], str] = {}
        self._tags: dict[tuple[str, str, str], str] = {}

    def told(self, action: str, subject: Mapping[str, Any]) -> None:
        """An event tells this."""
        if action == "describe" and "text" in subject:
            self._texts[subject["kind"], subject["name"]] = subject["text"]
            return
        kind = "dataset" if "dataset" in subject else "vector"
        version = subject.get(kind)
        if action == "describe":
            for what in _SAID:
                if what in subject:
                    self._amended[kind, str(version), what] = subject[what]
        elif action == "set-tag":
            self._tags[kind, str(version), subject["key"]] = subject["value"]
        elif action == "remove-tag":
            self._tags.pop((kind, str(version), subject["key"]), None)

    def note(self, checkup: Checkup) -> None:
        """Note what is there otherwise than events tell."""
        texts: dict[tuple[str, str], str] = {}
        amended: dict[tuple[str, str, str], str] = {}
        tags: dict[tuple[str, str, str], str] = {}
        session, amendment, tag = checkup.session, t.Amendment.__table__.columns, t.Tag.__table__.columns
        for kind, owner, version, column in OWNED:
            with checkup.noting("events", f"descriptions of {kind}s"):
                for name, text in session.execute(select(owner.name, owner.description)):
                    texts[kind, name] = text or ""
                of = amendment[f"{kind}_version_id"]
                versions = select(owner.name, version.number).join(version, column == owner.id)
                said = versions.add_columns(*(amendment[what] for what in _SAID)).join(
                    t.Amendment.__table__, of == version.id
                )
                for name, number, *cells in session.execute(said):
                    for what, cell in zip(_SAID, cells, strict=True):
                        # A behavior that was taken back is none.
                        if cell is not None:
                            amended[kind, f"{name}:v{number}", what] = cell
                of = tag[f"{kind}_version_id"]
                labels = versions.add_columns(tag["key"], tag["value"]).join(t.Tag.__table__, of == version.id)
                for name, number, key, value in session.execute(labels):
                    tags[kind, f"{name}:v{number}", key] = value
        told = {key: value for key, value in self._amended.items() if value or key[2] == "licence"}
        for (kind, name), text in texts.items():
            if text != self._texts.get((kind, name), ""):
                checkup.note("events", f"{kind} {name}", "its text is not as the last event about it says")
        for kind, name, what in sorted(amended.keys() | told.keys()):
            if amended.get((kind, name, what)) != told.get((kind, name, what)):
                checkup.note("events", f"{kind} {name}", f"its {what} is not as the last event about it says")
        for kind, name, key in sorted(tags.keys() | self._tags.keys()):
            if tags.get((kind, name, key)) != self._tags.get((kind, name, key)):
                checkup.note("events", f"{kind} {name}", f"its tag {key} is not as the last event about it says")
