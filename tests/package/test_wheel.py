"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.wheel, pytest.mark.long]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_that_ships_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "caa_registry/py.typed",
        "caa_registry/migrations/env.py",
        "caa_registry/seed_pairs/sycophancy.jsonl",
        "caa_registry/seed_pairs/sycophancy.md",
        "caa_registry/assets/demo_model/config.json",
        "caa_registry/assets/demo_model/model.safetensors",
        "caa_registry/assets/neutral_text/README.md",
        "caa_registry/assets/neutral_text/demo.jsonl",
        "caa_registry/assets/neutral_text/english.jsonl",
    ):
        assert needed in names
    rubrics = {path.name for path in (ROOT / "caa_registry" / "assets" / "rubrics").glob("*.md")}
    assert len(rubrics) >= 7
    assert {f"caa_registry/assets/rubrics/{name}" for name in rubrics} <= set(names)
    revisions = {path.name for path in (ROOT / "migrations" / "versions").glob("*.py")}
    assert {f"caa_registry/migrations/versions/{name}" for name in revisions} <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert tops == {"caa_registry", next(top for top in tops if top.endswith(".dist-info"))}
    assert not [name for name in names if "test" in name or name.endswith((".pyc", ".db"))]


def test_the_installed_wheel_works_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    work = tmp_path / "work"
    work.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CAA_", "PYTHON", "VIRTUAL_ENV"))}
    environment = {**kept, "CAA_HOME": str(tmp_path / "home")}

    def caa(*arguments: str) -> str:
        done = subprocess.run(
            [home / "bin" / "caa", *arguments], capture_output=True, text=True, check=False, cwd=work, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    caa("init")
    caa("dataset", "import", "seed:sycophancy", "--name", "t/s")
    (dataset,) = json.loads(caa("dataset", "ls", "--json"))
    assert (dataset["name"], dataset["version"]) == ("t/s", 1) and dataset["pairs"] > 0
    assert (tmp_path / "home" / "registry.db").is_file() and list(work.iterdir()) == []
    where = subprocess.run(
        [python, "-c", "import caa_registry; print(caa_registry.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=work,
        env=environment,
    )
    assert str(home) in where.stdout
