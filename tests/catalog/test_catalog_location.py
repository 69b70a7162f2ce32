"""Whatever is given as a registry, a password in it is printed nowhere."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry import settings
from caa_registry.catalog.database import Database
from caa_registry.catalog.location import locate
from caa_registry.errors import CaaError

FORMS = (
    "postgresql:/u:{}@h/db",
    "postgres:u:{}@h",
    "postgresql//u:{}@h/db",
    "postgresql:u:{}",
    "postgresql:\\\\u:{}@h",
    "mysql://u:{}@h/db",
    "x://u:{}@h/db",
    "sqlite:/u:{}@h",
    "sqlite:u:{}@h",
    "sqlite://u:{}@h/db",
    "sqlite:///postgresql://u:{}@h/db",
    "sqlite:///u:{}@h/",
    "file:u:{}@h",
    "user:{}@host/db",
    "./user:{}@host/db",
    "/postgresql:/user:{}@host/db",
    "host=h user=u password={} dbname=d",
    "postgresql://u:{}@h/db",
    "postgresql://u:{}@h:port/db",
    "postgresql://u:{}@[::1]:5432/db",
    "postgresql://u:{}@[::1/db",
    "postgresql://[u:{}@::1]/db",
    "postgresql://[u:{}]/db",
    "postgresql://u:first@{}@h/db",
    "postgresql://u/v:{}@h/db",
    "postgresql://h/db?password={}",
    "postgresql://h/db?passwrod={}",
    "postgresql://h/db?PASSWORD={}&sslmode=require",
    "postgresql://h/db;password={}",
    "postgresql://h/db#{}",
    "postgresql://u:{}@h/db?host=v:{}@w",
    "postgresql://u%3A{}@h/db",
    "postgresql:///db?user=u:{}",
    "postgresql:///db?options=-c%20x%3D{}",
    "postgresql:///db?application_name={}",
    "postgresql+asyncpg://u:{}@h/db",
    "POSTGRESQL://u:{}@h/db",
    " postgresql://u:{}@h/db",
    "postgres ql://u:{}@h/db",
)
# Long enough that no message holds it for another reason.
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=6, max_size=20).map("Zq7".__add__)


def said(given_url: str) -> str:
    """All that is said of a registry of that name, short of connecting to it."""
    try:
        location = locate(settings.registry_url(given_url))
    except CaaError as error:
        return f"{error!r} {error} " + "".join(traceback.format_exception(error))
    return f"{location!r} {location.option} {location.shown}"


@given(form=st.sampled_from(FORMS), password=PASSWORDS, encoded=st.booleans())
def test_no_password_is_shown(form: str, password: str, encoded: bool) -> None:
    text = said(form.replace("{}", quote(password, safe="") if encoded else password))
    assert "Zq7" not in text
    for written in (password, quote(password), quote(password, safe=""), quote_plus(password)):
        assert written not in text


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_url_makes_no_folder(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if not form.lower().lstrip().startswith(("postgresql://", "postgres ql", "postgresql+")):
        with pytest.raises(CaaError) as caught:
            Database.open(settings.registry_url(form.replace("{}", "hunter2")), create=True)
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_environment_and_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_REGISTRY", "postgresql:/u:hunter2@h/db")
    with pytest.raises(CaaError) as caught:
        settings.registry_url()
    assert "hunter2" not in str(caught.value) and "postgresql://USER@HOST" in caught.value.hint
    monkeypatch.delenv("CAA_REGISTRY")
    monkeypatch.setenv("CAA_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text('registry = "user:hunter2@host/db"\n')
    with pytest.raises(CaaError) as caught:
        settings.registry_url()
    assert "hunter2" not in str(caught.value)


def test_paths_with_colons_and_at_signs_that_are_files_still_open(tmp_path: Path) -> None:
    path = tmp_path / "a:b@c.db"
    path.touch()
    assert locate(settings.registry_url(str(path))).path == path
    assert locate(settings.registry_url(f"{tmp_path}/notes:2024.db")).path == tmp_path / "notes:2024.db"


def test_a_driver_that_repeats_the_password(caplog: pytest.LogCaptureFixture) -> None:
    location = locate("postgresql://u:hun%20ter2@h/db")
    error = ValueError('missing "=" after "hun ter2"')
    assert location.cause(error) is None and location.cause(ValueError("x")) is not None
    outer = RuntimeError("cannot connect")
    outer.__cause__ = error
    assert location.cause(outer) is None
    assert location.without_secrets("hun ter2 hun%20ter2 hun+ter2") == "*** *** ***"
    url = f"postgresql://u:{'hunter'}2@127.0.0.1:1/db?passwrd={'hunter'}2"
    with caplog.at_level(logging.DEBUG), pytest.raises(CaaError) as caught:
        Database.open(url, create=False)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text
