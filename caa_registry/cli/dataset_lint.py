"""``caa dataset lint``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import TEMPLATE, Settings, common
from caa_registry.pairs.lint.rules import RULES
from caa_registry.wire.datasets import lint_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.pairs.lint.findings import Finding
    from caa_registry.registry.records import LintReport

_ROWS = 8


@click.command(epilog="Example: caa dataset lint anthropic/survival --against anthropic/survival-lm")
@click.argument("reference")
@click.option(
    "--against",
    multiple=True,
    metavar="REF",
    help="Compare with this dataset, or 'none'; repeatable.  [default: all others of the behavior]",
)
@click.option("--model", metavar="M", help="Also check how this model's tokenizer splits the pairs.")
@click.option("--template", type=TEMPLATE, help="How the model's prompts are rendered.")
@click.option("--rule", type=click.Choice(list(RULES)), help="List every finding of this rule.", metavar="RULE")
@common
def lint(
    settings: Settings, reference: str, against: tuple[str, ...], model: str | None, template: Any, rule: str | None
) -> int:
    """Check a dataset for problems: duplicates, leaks, wrong labels, unbalanced letters, lengths and words.

    The report is stored with the version. The exit code is 1 if there is an error. docs/lint.md explains every rule.
    """
    others = [] if against == ("none",) else list(against) or None
    with settings.open() as registry, output.progress("Comparing pairs") as progress:
        report = registry.datasets.lint(reference, against=others, model=model, template=template, progress=progress)
    code = 1 if report.summary["errors"] else 0
    shown = [finding for finding in report.findings if rule in (None, finding.rule)]
    if settings.as_json:
        output.print_json(lint_json(report, shown))
    elif rule is not None:
        rows = [(f.split, str(f.row or ""), f.pair[7:19], f.message) for f in shown]
        output.table(["split", "row", "digest", "finding"], rows, empty=f"{rule} finds nothing.")
        output.message(f"{RULES[rule].meaning[0].upper()}{RULES[rule].meaning[1:]}. {RULES[rule].advice}")
    else:
        _say(report)
    return code


def _say(report: LintReport) -> None:
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        by_rule[finding.rule].append(finding)
    rows = [(RULES[name].severity, name, len(found), _where(found)) for name, found in by_rule.items()]
    output.table(["severity", "rule", "found", "where"], rows, empty="No findings.")
    compared = report.parameters["against"]
    beside = f", compared with {', '.join(compared)}" if compared else ", not compared with other datasets"
    summary = report.summary
    nouns = {"errors": "error", "warnings": "warning", "infos": "note"}
    counts = ", ".join(count(summary[key], noun) for key, noun in nouns.items())
    output.line(f"Score {summary['score']:g} of 100: {counts} in {count(summary['rows'], 'pair')}{beside}.")
    if by_rule:
        first = next(iter(by_rule))
        output.message(f"To list every finding of a rule: caa dataset lint {report.dataset} --rule {first}")


def _where(found: Sequence[Finding]) -> str:
    """The messages about the whole set, or the rows of each split."""
    if RULES[found[0].rule].level == "set":
        return "; ".join(f"{f.split}: {f.message}" if f.split else f.message for f in found)
    parts = []
    for split in dict.fromkeys(finding.split for finding in found):
        of_split = [finding for finding in found if finding.split == split]
        numbers = [str(f.row) if f.row is not None else f.pair[7:19] for f in of_split]
        more = f" and {len(numbers) - _ROWS} more" if len(numbers) > _ROWS else ""
        rows = "row" if len(numbers) == 1 else "rows"
        parts.append(f"{split} ({len(of_split)}): {rows} {', '.join(numbers[:_ROWS])}{more}")
    return "; ".join(parts)
