"""Whether an evaluation followed a plan."""

from __future__ import annotations

from dataclasses import dataclass

from caa_registry.display.records import Record


@dataclass(frozen=True)
class Standing(Record):
    """Whether an evaluation followed a plan that was there before it. ``reason``: why it does not count as
    confirmatory; empty where it does. ``plan``: the name of its plan, and ``run``: which of the plan's ``runs`` it is;
    empty and 0 without one."""

    confirmatory: bool
    reason: str
    plan: str = ""
    digest: str = ""
    run: int = 0
    runs: int = 0

    def _called(self) -> str:
        return self.note

    @property
    def word(self) -> str:
        return "confirmatory" if self.confirmatory else "exploratory"

    @property
    def note(self) -> str:
        """What listings say of it."""
        return f"{self.word}, run {self.run} of {self.runs}" if self.plan else self.word

    @property
    def sentence(self) -> str:
        """Which it is, and why."""
        of = f", run {self.run} of {self.runs} of plan {self.plan}" if self.plan else ""
        return f"{self.word.capitalize()}{of}" + (f": {self.reason}." if self.reason else ".")


UNPLANNED = Standing(False, "it has no plan")
