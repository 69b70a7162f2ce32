"""The documents are true: the tutorial and the guide run, the command reference is fresh."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command_line import caa
from support.s3_server import S3Server, s3

from caa_registry.cli.main import COMMANDS

__all__ = ["s3"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tutorial_runs(tmp_path: Path) -> None:
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks(DOCS / "tutorial.md", "python")), encoding="utf-8")
    result = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_REGISTRY", str(tmp_path / "readme.db"))
    (code,) = blocks(ROOT / "README.md", "python")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize(("path", "fewest"), [("docs/guide.md", 16), ("docs/curation.md", 16), ("README.md", 8)])
def test_the_guide_runs(path: str, fewest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_REGISTRY", str(tmp_path / "guide.db"))
    monkeypatch.chdir(tmp_path)
    run_console(path, fewest)


def test_the_page_of_blobs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    s3.new_bucket("team-bucket")
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run_console("docs/blobs.md", 13)


def run_console(path: str, fewest: int) -> None:
    """The commands of a document, at least ``fewest``, each of which prints what is shown of it."""
    commands = [
        command
        for block in blocks(ROOT / path, "console")
        for command in re.findall(r"^\$ (.*\n(?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]
    assert len(commands) >= fewest
    for command in commands:
        line, shown = command.split("\n", 1)
        program, *arguments = shlex.split(line)
        assert program == "caa"
        result = caa(*arguments)
        # Where a document shows what a command prints, whole lines of it in their order.
        assert result.code == ("Nothing works here" in shown), f"{line}\n{result.err}"
        printed = [each.rstrip() for each in (result.out + result.err).splitlines()]
        for said in shown.splitlines():
            assert said in printed, f"{line}\n{said}"
            printed = printed[printed.index(said) + 1 :]


def test_the_page_for_users_of_mlxterp_runs_and_has_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / "from-mlxterp.md"
    for name, lines in re.findall(r"^```text (\S+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(lines, encoding="utf-8")
    monkeypatch.setenv("CAA_REGISTRY", str(tmp_path / "page.db"))
    monkeypatch.chdir(tmp_path)
    run_console("docs/from-mlxterp.md", 9)

    rows = re.findall(r"^\| (.+) \| `' (\w+)'` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page.read_text("utf-8"), re.M)
    assert len(rows) == 7
    for strength, text, *figures in rows:
        several = strength.startswith("layers 1 to 3 at ")
        where = ["--layer", "1,2,3" if several else "2", "--multipliers", strength.removeprefix("layers 1 to 3 at ")]
        asked = ["next-token", "--vector", "tutorial/mood", *where, "--positions", "all", "This product is", "--json"]
        first, wise = (
            caa(*asked, *which).json["results"][1]["tokens"][0] for which in (["--top", "1"], ["--token", " wise"])
        )
        logit, probability, of_wise = map(float, figures)
        assert first["text"] == f" {text}", strength
        assert first["logit"] == pytest.approx(logit, rel=1e-5), strength
        assert first["probability"] == pytest.approx(probability, abs=1e-5), strength
        assert wise["probability"] == pytest.approx(of_wise, abs=1e-5), strength

    (code,) = blocks(page, "python")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "wise."


def test_the_command_reference_is_fresh() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "cli_reference.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_guide_or_readme_mentions_every_command(name: str) -> None:
    text = (DOCS / "guide.md").read_text(encoding="utf-8") + (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"caa {name}" in text or name in ("demo", "db")


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    extras = [name for values in project["optional-dependencies"].values() for name in values]
    for requirement in [*project["dependencies"], *extras]:
        package = re.split(r"[\[><=; ]", requirement)[0]
        assert package in reasons, f"docs/dependencies.md says nothing of {package}"


def test_the_architecture_shows_every_room() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "caa_registry"
    for path in package.iterdir():
        if path.is_dir() and (path / "__init__.py").is_file():
            assert f"{path.name}/" in text, f"docs/architecture.md does not show {path.name}/"
        elif path.suffix == ".py" and path.name not in ("__init__.py", "__main__.py"):
            assert path.name in text, f"docs/architecture.md does not show {path.name}"


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md"))]


def paths_in(text: str) -> set[str]:
    """What stands in backticks and has the form of a path to a file of the project, or to a folder of the package."""
    quoted = re.findall(r"`(?:python |\./)?([\w./-]+)`", text)
    return {path for path in quoted if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*(/|\.py|\.md|\.toml|\.yaml)", path)}


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/extending.md", "docs/lint.md", "CONTRIBUTING.md"])
def test_the_paths_that_a_document_names_are_there(name: str) -> None:
    # What the reader is to write is not there.
    paths = {path for path in paths_in((ROOT / name).read_text(encoding="utf-8")) if not path.startswith("extra/")}
    assert [path for path in paths if not any((root / path).exists() for root in (ROOT, ROOT / "caa_registry"))] == []
    assert paths


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        linked = path.parent / file if file else path
        assert linked.is_file(), f"{path.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_mlx_lm_is_bounded_to_what_was_tested() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from support.architectures_limits import MLX_LM

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (bound,) = [r.specifier for r in map(Requirement, project["dependencies"]) if r.name == "mlx-lm"]
    major, minor, _ = MLX_LM.split(".")
    assert MLX_LM in bound and f"{major}.{int(minor) + 1}" not in bound


def test_the_checks_are_run_by_all_that_say_so() -> None:
    import yaml

    assert "./scripts/check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    checks = (ROOT / "scripts" / "check").read_text(encoding="utf-8")
    commands = [line for line in checks.splitlines() if line.startswith(".venv/bin/")]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert local["repo"] == "local"
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in local["hooks"]]
    assert entries == [command.removesuffix(" .") for command in commands] and len(entries) == 3
