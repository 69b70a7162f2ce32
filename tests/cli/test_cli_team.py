"""Two people on one PostgreSQL registry: each does what their role means, is told what it does not, and no password is
printed or written anywhere."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import click
import pytest
from cli.command_line import Result, caa, process
from registry.registry_support import dump, jsonl, letters
from support.hub_server import TOKEN, HubServer, point_client_at
from support.judge_server import JudgeServer

from caa_registry.cli.main import cli

if TYPE_CHECKING:
    from support.team_server import TeamServer

pytestmark = pytest.mark.long

# Passwords that nothing else holds: of the writer, in the URL, and of the reader, in the environment.
ADAS, BOBS = "pl4nted-s3cret-of-@da", "pl4nted-s3cret-of-b:b"

# In this order, each as the reader, with --read-only, and as the writer. JUDGE stands for a server on this machine.
WRITES = """
dataset import --name team/s --split generate=generate.jsonl --split test=test.jsonl
dataset import asked.jsonl --name team/questions
dataset import seed:demo-sycophancy --name team/free
dataset lint team/s
dataset balance team/s --name team/balanced
dataset dedupe team/s --name team/deduped
dataset filter team/s "split == 'test'" --name team/filtered
dataset sample team/s -n 4 --name team/sampled
dataset split team/filtered --test 0.5 --name team/divided
dataset merge team/filtered team/sampled --name team/merged
dataset drop team/s 1 --split test --why harmless --name team/dropped
dataset relabel team/s --why swapped --name team/relabelled
dataset to-free-form team/s --name team/texts
dataset to-ab team/free --name team/letters
dataset review team/s --reviewer ada --from-csv sheet.csv
dataset cut team/s --rule any --name team/reviewed
dataset expand templates.yaml --name team/expanded
dataset replay recipe.json --name team/replayed
dataset push team/s hf:team/pairs
model add demo
vector compute team/s --dataset team/s --model demo
vector compute team/s --dataset team/s --model demo --method pca
vector compute team/other --dataset team/letters --model demo
vector combine team/mixed team/s:v1 team/s:v2:-0.5
vector normalize vector:team/s:v1 vector:team/other
vector import vector.npz --name team/theirs
vector verify team/s:v1 --recompute
eval propensity team/s --layers 2 --multipliers -1,0,1 --controls none
eval side-effects team/s --text demo --layers 2 --multipliers -1,1
eval open-ended team/s --dataset team/questions --layer 2 --multipliers 0,1 --max-tokens 4
eval cross vector:team/s vector:team/other --layer 2
vector combine team/double team/s:v2:2.0
eval propensity team/double --dataset dataset:team/s --layers 2 --multipliers -1,-0.5,0,0.5,1 --controls none
eval rate 3 --judge-url JUDGE --judge-model judge --rubric refusal
eval plan team/plan --vector team/s --layers 2 --multipliers -1,0,1 --draws 19
eval run team/plan
eval verify 1 --recompute
pull team/v --from own.db
bundle open w.caa
alias set team/s:v2 best --layer 2 --multiplier 1
alias set team/s:v1 best --layer 2 --multiplier 1
alias set vector:team/s:v1 gone
alias rm vector:team/s:gone
sign vector:team/s:v1 --key ada.pem
deprecate vector:team/s:v2 --why pca --successor team/s:v1
quarantine vector:team/mixed --why mixed
tag set vector:team/s:v1 stage=draft owner=ada
tag rm vector:team/s:v1 owner
describe vector:team/s --text "Agrees with whoever asks"
rename vector:team/theirs team/borrowed
dataset recall team/replayed --why wrong
delete dataset:team/texts --why unused
undelete dataset:team/texts
"""

# As the reader, and with --read-only; also as JSON. OUT stands for a folder, URL for the registry.
READS = """
dataset ls
dataset show team/s
dataset log team/s
dataset diff team/s team/dropped
dataset export team/s OUT/pairs.jsonl
dataset recipe team/filtered --out OUT/recipe.json
dataset replay team/filtered
dataset review team/s --reviewer bob --to-csv OUT/sheet.csv
dataset reviews team/s
dataset blame PAIR
model ls
model show demo
model verify demo
vector ls
vector show vector:team/s:best --card
vector log team/s
vector compare team/s:v1 team/s:v2
vector similar team/s:v1 --layer 2
vector tokens vector:team/s:v1 --layer 2 "I agree."
vector plot vector:team/s:v1 --out OUT
vector export vector:team/s:v1 --format gguf --layers 1-3 --out OUT/s.gguf
vector lock vector:team/s:best --out OUT/s.caa-lock.json
vector verify vector:team/s:v1
eval ls
eval show 1
eval answers 3
eval sheet 3 --out OUT/ratings.csv
eval categories 1 --layer 2
eval compare vector:team/s:v2 team/double --layer 2 --dose 0.00002
eval leaderboard
eval plans
eval plot 1 --layer 2 --out OUT
eval report vector:team/s:v2 --out OUT/report
eval verify 1
generate --vector vector:team/s:best "Why?" --max-tokens 3
next-token --vector vector:team/s:best "Why?"
alias ls
alias log vector:team/s:best
tag ls
search agree
lineage vector:team/s:best
run ls
run show 1
log ls
log head
log verify
verify vector:team/s:v1 --require-signature KEY
push vector:team/s:v1 --to own.db
diff --remote own.db
remote ls
bundle create vector:team/s:v1 -o OUT/s.caa
bundle show w.caa
bundle verify w.caa
fsck
backup OUT/backup.db
copy URL OUT/copy.db
gc --dry-run --grace 0
db roles
doctor
init
"""

# What is not about a registry, makes one, or takes a long way: tested elsewhere.
ELSEWHERE = {
    "demo", "dataset edit", "dataset mappings", "dataset seeds", "eval calibrate", "eval merge", "eval rubrics",
    "key new", "remote add", "remote rm", "restore", "db upgrade",
}  # fmt: skip


@dataclass
class Walk:
    """What was said in the order in which it was: who, which command, and how it ended. ``ada`` and ``bob``: the
    addresses as which they connect; ``words``: what stands in commands for what is known later."""

    folder: Path
    ada: str
    bob: str
    words: dict[str, str]
    said: list[tuple[str, str, Result]] = field(default_factory=list)

    def run(self, who: str, line: str, *options: str) -> Result:
        url = self.bob if who == "bob" else self.ada
        known = {**self.words, "URL": url}
        arguments = [known.get(word, word).replace("OUT", f"out-{len(self.said)}") for word in shlex.split(line)]
        if f"out-{len(self.said)}" in " ".join(arguments):
            (self.folder / f"out-{len(self.said)}").mkdir()
        if who == "read-only" and arguments[0] != "copy":
            options = (*options, "--read-only")
        result = caa(*arguments, *options, *([] if arguments[0] == "copy" else ["--registry", url]))
        self.said.append((who, line, result))
        return result

    def rows(self) -> dict[str, list[tuple[str, ...]]]:
        return dump(self.ada.replace("postgresql:", "postgresql+psycopg:"))

    def of(self, who: str, commands: str) -> list[tuple[str, Result]]:
        return [(line, result) for by, line, result in self.said if by == who and line in lines(commands)]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def prepare(folder: Path) -> dict[str, str]:
    """Make the files that the commands read; what of them stands in commands."""
    rows = {name: [{**row, "category": "all"} for row in letters(6, about=name)] for name in ("generate", "test")}
    generate, test = (jsonl(folder / f"{name}.jsonl", rows[name]) for name in rows)
    jsonl(folder / "asked.jsonl", [{"question": "Why?"}])
    (folder / "templates.yaml").write_text(
        "prompt: 'Is {thing} good?'\npositive: '{positive}.'\nnegative: '{negative}.'\n"
        "contrasts: [{positive: 'Yes', negative: 'No'}]\nslots: {thing: [tea, soup]}\n"
    )
    own = ["--registry", folder / "own.db"]
    for command in (
        ["init"],
        ["dataset", "import", "--name", "team/s", "--split", f"generate={generate}", "--split", f"test={test}"],
        ["dataset", "filter", "team/s", "split == 'test'", "--name", "team/made"],
        ["dataset", "recipe", "team/made", "--out", folder / "recipe.json"],
        ["dataset", "review", "team/s", "--reviewer", "ada", "--to-csv", folder / "sheet.csv"],
        ["vector", "compute", "team/v", "--dataset", "team/s", "--model", "demo"],
        ["vector", "export", "team/v", "--out", folder / "vector.npz", "--format", "npz"],
        ["vector", "compute", "team/w", "--dataset", "team/s", "--model", "demo", "--method", "pca"],
        ["bundle", "create", "team/w", "-o", folder / "w.caa"],
    ):
        result = caa(*command, *own)
        assert result.code == 0, (command, result.err)
    with (folder / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        sheet = list(csv.DictReader(file))
    with (folder / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(sheet[0]))
        writer.writeheader()
        writer.writerows({**row, "state": "accepted"} for row in sheet)
    return {"KEY": caa("key", "new", folder / "ada.pem", "--json").json["key"], "PAIR": sheet[0]["digest"][7:27]}


@pytest.fixture(scope="module")
def walk(team: TeamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("team")
    name = team.registry()
    team.administer(f"ALTER ROLE {name}_ada PASSWORD '{ADAS}'", f"ALTER ROLE {name}_bob PASSWORD '{BOBS}'")
    words = prepare(folder)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(folder)
        judge = stack.enter_context(JudgeServer(lambda request: "7"))
        hub = stack.enter_context(HubServer())
        point_client_at(patch, hub.url, folder / "hub", TOKEN)
        words["JUDGE"] = judge.base_url
        found = Walk(folder, team.url(f"{name}_ada", ADAS, name), team.url(f"{name}_bob", None, name), words)
        patch.setenv("CAA_HOME", str(folder / "home"))
        patch.setenv("CAA_REGISTRY", found.ada)
        patch.setenv("PGPASSWORD", BOBS)
        for line in lines(WRITES):
            before = found.rows()
            found.run("bob", line)
            found.run("read-only", line)
            assert found.rows() == before, line
            found.run("ada", line)
        before = found.rows()
        for line in lines(READS):
            for who in ("bob", "read-only"):
                found.run(who, line)
            found.run("bob", line, "--json")
        assert found.rows() == before
        yield found


def test_a_writer_writes(walk: Walk) -> None:
    found = walk.of("ada", WRITES)
    assert [line for line, _ in found] == lines(WRITES)
    # A plan whose conditions do not hold ends with 1 too, and is no error.
    assert [(line, result.err) for line, result in found if result.code and "Error" in result.err] == []


def test_a_reader_is_told_so_and_changes_nothing(walk: Walk) -> None:
    for line, result in walk.of("bob", WRITES):
        assert result.code == 1 and result.out == "", (line, result)
        assert result.err.count("Error: ") == 1 and "this user may only read it" in result.err, (line, result.err)
        assert "Nothing was changed." in result.err and "Traceback" not in result.err, line


def test_nothing_is_written_by_who_asks_for_that(walk: Walk) -> None:
    for line, result in walk.of("read-only", WRITES):
        assert result.code == 1 and "is opened read-only" in result.err, (line, result)
        assert "Traceback" not in result.err, line


@pytest.mark.parametrize("who", ["bob", "read-only"])
def test_a_reader_reads(walk: Walk, who: str) -> None:
    found = walk.of(who, READS)
    assert {line for line, _ in found} == set(lines(READS))
    assert [(line, result.err) for line, result in found if result.code] == []


def test_every_command_is_walked_through() -> None:
    walked = [line.split() for line in lines(WRITES + READS)]
    context = click.Context(cli)

    def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from leaves(child, (*path, name))
        else:
            yield " ".join(path)

    for name in leaves(cli, ()):
        parts = name.split()
        assert any(line[: len(parts)] == parts for line in walked) != (name in ELSEWHERE), name


def test_contents_are_removed_by_the_owner_alone(walk: Walk, team: TeamServer) -> None:
    walk.run("ada", "delete dataset:team/dropped")
    before = walk.rows()
    for who, words in (("ada", "permission denied for table"), ("bob", "this user may only read it")):
        refused = walk.run(who, "gc --grace 0")
        assert refused.code == 1 and words in refused.err and "Nothing was changed." in refused.err
    assert walk.rows() == before
    name = walk.ada.rsplit("/", 1)[1]
    done = caa("gc", "--grace", "0", "--registry", team.owner(name))
    assert done.code == 0 and "team/dropped" in done.out, done.err
    assert walk.run("bob", "fsck").code == 0


def test_a_user_without_rights(walk: Walk, team: TeamServer) -> None:
    eve = team.member(walk.ada.rsplit("/", 1)[1], "eve")
    for line in ("vector ls", "alias set team/s:v1 x", "fsck", "init", "db upgrade", "db roles"):
        refused = caa(*line.split(), "--registry", eve)
        assert refused.code == 1 and "permission denied for table" in refused.err, (line, refused)
        assert refused.err.count("\n") == 2 and "caa db roles" in refused.err
    refused = caa("db", "upgrade", "--read-only", "--registry", walk.ada)
    assert refused.code == 2 and "--read-only" in refused.err


def test_no_password_is_printed_or_written(walk: Walk, team: TeamServer, tmp_path: Path) -> None:
    """Neither the one in the URL nor the one in the environment, in no way of writing it."""
    name = walk.ada.rsplit("/", 1)[1]
    wrong = team.url(f"{name}_eve", ADAS, name)
    environment = {"CAA_REGISTRY": walk.ada, "PGPASSWORD": BOBS, "CAA_HOME": str(tmp_path / "home")}
    said = [result for _, _, result in walk.said]
    for arguments in (
        ["vector", "ls", "--registry", wrong],
        ["doctor", "--registry", wrong],
        ["copy", wrong, tmp_path / "copy.db"],
        ["copy", walk.folder / "own.db", walk.ada],
        ["init", "--registry", walk.ada + "x"],
        ["demo", "--registry", walk.ada],
        ["db", "roles", "--registry", wrong],
        ["db", "upgrade", "--registry", walk.ada],
        ["restore", walk.folder / "own.db", "--registry", walk.ada],
        ["vector", "show", "team/none", "--registry", walk.ada],
        ["remote", "add", "there", walk.ada],
        ["remote", "ls"],
        ["pull", "team/double", "--from", walk.ada, "--registry", walk.folder / "own.db"],
        ["diff", "--remote", wrong, "--registry", walk.folder / "own.db"],
        ["gc", "--grace", "0", "--registry", walk.ada],
        ["vector", "ls", "--registry", walk.ada.replace(quote(ADAS, safe=""), ADAS)],
        ["vector", "ls", "--registry", f"{walk.bob}?password={quote(ADAS)}&sslmode=require"],
        ["vector", "ls", "--registry", f"{walk.bob}?sslpassword={quote(ADAS)}&options=-c%20x%3D{quote(BOBS)}"],
    ):
        said.append(caa(*arguments))
        if "demo" not in arguments:
            said.append(process(*arguments, "--debug", environment=environment))
    forms = {form for secret in (ADAS, BOBS) for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms):
        for result in said:
            assert form not in result.out and form not in result.err, result
        for path in (*walk.folder.rglob("*"), *tmp_path.rglob("*")):
            assert not path.is_file() or form.encode() not in path.read_bytes(), path
        assert form not in repr(walk.rows())
