"""What clients of a team's registry wrote in their journals, and what may be there because of it.

Clients act on the same things at the same time. Of each thing that one of them said to be so it is known when that
began and when it had been told, so what is there in the end is the last of these, or one that overlapped with it. What
was cut off, by a kill or a lost connection, may have come about or not.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from team_operations import THERE

# A server may still be committing for somebody who was killed.
_SLACK = 5.0
# What may be done in part where it is refused: one version after the other is pulled.
_IN_PARTS = ("pull",)


@dataclass(frozen=True)
class Write:
    """That something became ``state`` at some moment of a time. ``told``: that it did, and not only may have."""

    state: str
    begun: float
    ended: float
    told: bool


@dataclass
class History:
    """``writes``: by what they are about; ``numbers`` and ``contents``: what was told of each version; ``maybe``: by
    kind and name how many versions there may be of which nobody was told; ``moved``: aliases that were where they were
    expected; ``collected``: when gc could have removed what was just deleted."""

    writes: dict[str, list[Write]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    contents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    maybe: Counter[str] = field(default_factory=Counter)
    moved: list[tuple[str, ...]] = field(default_factory=list)
    collected: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _made: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _cut: list[tuple[str, float, float]] = field(default_factory=list)

    def read(self, journal: Path, died: float) -> None:
        """Take in a journal. ``died``: when its client was gone, if it was killed."""
        begun: dict[str, Any] | None = None
        for line in lines(journal):
            if "do" in line:
                begun = line
            else:
                self._end(journal.stem, begun or {"do": "open", "at": line["at"], "may": []}, line)
                begun = None
        if begun is not None:
            self.counts[f"{begun['do']}: killed"] += 1
            self._loosen(begun, died + _SLACK)
            if begun["do"] == "gc, no grace":
                self.collected.append((begun["at"], died + _SLACK))

    def _end(self, who: str, begun: dict[str, Any], line: dict[str, Any]) -> None:
        outcome = next(each for each in ("told", "refused", "failed", "broken") if each in line)
        self.counts[f"{begun['do']}: {'done' if outcome == 'told' else outcome}"] += 1
        if begun["do"] == "gc, no grace":
            self.collected.append((begun["at"], line["at"]))
        if outcome == "told":
            self._tell(who, begun, line)
        else:
            self.refusals[f"{outcome}: {_words(line)}"] += 1
        if outcome == "broken":
            self.problems.append(f"{who}, {begun['do']}: {line['broken']}: {line.get('message', '')}")
        if outcome in ("failed", "broken") or (outcome == "refused" and begun["do"] in _IN_PARTS):
            self._loosen(begun, line["at"])

    def _tell(self, who: str, begun: dict[str, Any], line: dict[str, Any]) -> None:
        for about, state in line["told"]:
            self.writes[about].append(Write(state, begun["at"], line["at"], told=True))
            if begun.get("made"):
                self._made[f"{begun['name']} {begun['made']}"].add(about)
        for about, number in line.get("numbers", ()):
            self.numbers[about].add(number)
        for about, content in line.get("content", {}).items():
            self.contents[about].add(content)
        self.moved += [tuple(each) for each in line.get("moved", ())]
        if line.get("collected"):
            self.problems.append(f"{who}: gc removed what was just deleted: {line['collected']}")

    def _loosen(self, begun: dict[str, Any], ended: float) -> None:
        for about, state in begun["may"]:
            self.writes[about].append(Write(state, begun["at"], ended, told=False))
        if begun.get("made"):
            self.maybe[begun["name"]] += 1
            self._cut.append((f"{begun['name']} {begun['made']}", begun["at"], ended))

    def close(self) -> None:
        """All journals were read. What was cut off may have brought back what was made of the same."""
        for made, begun, ended in self._cut:
            for about in self._made.get(made, ()):
                self.writes[about].append(Write(THERE, begun, ended, told=False))

    def possible(self, about: str, initial: str, name: str = "") -> set[str]:
        """What it may be: no other was told that began after this had ended. ``initial``: what it was before. ``name``:
        of a version, which may have been made by somebody who was cut off."""
        writes = [Write(initial, -math.inf, -math.inf, told=True), *self.writes[about]]
        if self.maybe[name]:
            before = math.nextafter(min(write.begun for write in self.writes[about]), -math.inf)
            writes.append(Write(THERE, -math.inf, before, told=False))
        last = max(write.begun for write in writes if write.told)
        return {write.state for write in writes if write.ended >= last}

    def kept_since(self, about: str, state: str) -> bool:
        """Whether no gc that leaves no time ended after the first moment at which it may have become ``state``."""
        first = min((write.begun for write in self.writes[about] if write.state == state), default=math.inf)
        return all(ended < first for _, ended in self.collected)


def lines(journal: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal. One that was cut off was not written."""
    return (json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1])


def _words(line: dict[str, Any]) -> str:
    """Why something was not done, without what it was done to."""
    of = next(line[each] for each in ("refused", "failed", "broken") if each in line)
    return re.sub(r"\S*[/:\d]\S*", "...", f"{of}, {line['message']}" if "message" in line else of.splitlines()[-1])
