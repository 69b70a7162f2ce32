"""Blobs outside the database on the command line, where no key is ever printed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.command_line import Result, caa, process
from support.s3_server import KEY, SECRET, Fault, S3Server, environment, s3

from caa_registry.errors import CaaError

__all__ = ["s3"]

PLANTED = "PLANTED0SECRET0PLANTED"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CAA_REGISTRY", str(tmp_path / "team.db"))
    return tmp_path


@pytest.fixture
def place(s3: S3Server) -> str:
    return f"s3://{s3.new_bucket()}/caa"


def made(place: object) -> None:
    assert caa("init", "--blobs", place).code == 0
    assert caa("dataset", "import", "seed:demo-sentiment", "--name", "team/s").code == 0
    assert caa("vector", "compute", "team/s", "--dataset", "team/s", "--model", "demo").code == 0


def shown(*arguments: object) -> Result:
    """What a command prints, with --debug too, which leaves the error to Python."""
    try:
        return caa(*arguments)
    except CaaError as error:
        return Result(1, "", "".join(traceback.format_exception(error)))


def test_init_says_where_the_blobs_are_and_the_same_again_is_fine(home: Path, place: str) -> None:
    for where in (place, str(home / "blobs")):
        registry = home / f"{len(where)}.db"
        done = caa("init", "--blobs", where, "--registry", registry)
        assert done.code == 0 and f"Its blobs are in {where}.\n" in done.err
        assert caa("init", "--blobs", where, "--registry", registry, "--json").json["blobs"] == where
        assert caa("init", "--registry", registry, "--json").json["blobs"] == where
        other = caa("init", "--blobs", home / "other", "--registry", registry)
        assert other.code == 2 and "To move them: caa backup FILE" in other.err and not (home / "other").exists()
        taken = caa("init", "--blobs", where, "--registry", home / "new.db")
        assert taken.code == 2 and f"another registry keeps its blobs in {where}" in taken.err
        assert not (home / "new.db").exists()
    plain = caa("init", "--registry", home / "plain.db", "--json")
    assert plain.json["blobs"] is None
    moved = caa("init", "--blobs", home / "other", "--registry", home / "plain.db")
    assert moved.code == 2 and "keeps its blobs in its database" in moved.err and not (home / "other").exists()


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{PLANTED}:{PLANTED}@bucket/prefix",
        f"s3://bucket/prefix?aws_secret_access_key={PLANTED}",
        f"s3://bucket/prefix#{PLANTED}",
        f"https://user:{PLANTED}@storage.example.org/bucket",
        f"s3:/{PLANTED}:{PLANTED}@bucket",
        f"user:{PLANTED}@host",
        f"gs://user:{PLANTED}@host",
    ],
)
@pytest.mark.parametrize("command", ["init", "restore"])
def test_a_url_with_keys_is_refused_and_not_repeated(home: Path, url: str, command: str) -> None:
    source = []
    if command == "restore":
        caa("init", "--registry", home / "b.db")
        source = [home / "b.db"]
    for more in ([], ["--json"], ["--debug"]):
        done = shown(command, *source, "--blobs", url, "--registry", home / "new" / "r.db", *more)
        assert done.code and PLANTED not in done.out + done.err and not (home / "new").exists()
        assert "holds no credentials" in done.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "empty"),
        ("gs://bucket/x", "neither"),
        ("s3:bucket", "neither"),
        ("s3://", "cannot be understood"),
        ("s3://No_Such/x", "cannot be understood"),
        ("s3://bucket/../x", "cannot be understood"),
        ("s3://bucket/a//b", "cannot be understood"),
        ("s3://bucket/\x1b[2J", "cannot be understood"),
        ("folder://x", "neither"),
    ],
)
def test_what_is_no_place(home: Path, url: str, said: str) -> None:
    done = caa("init", "--blobs", url, "--registry", home / "new" / "r.db")
    assert done.code == 2 and said in done.err and len(done.err.splitlines()) == 2
    assert not (home / "new").exists() and "\x1b" not in done.err


def test_a_bucket_that_is_not_there_is_said_at_once_and_nothing_is_left(home: Path, s3: S3Server) -> None:
    done = caa("init", "--blobs", "s3://no-such-bucket/x", "--registry", home / "new" / "r.db")
    assert done.code == 1 and done.err.splitlines() == [
        "Error: there is no bucket no-such-bucket",
        "Make it first, or check its name and AWS_ENDPOINT_URL.",
    ]
    assert not (home / "new").exists()


def test_without_the_client_it_is_said_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    done = caa("init", "--blobs", place)
    assert done.code == 1 and "pip install 'caa-registry[s3]'" in done.err


def test_a_backup_that_lacks_what_was_lost_says_so(home: Path) -> None:
    made(home / "blobs")
    assert caa("backup", home / "whole.db").code == 0
    (file,) = (home / "blobs" / "sha256").glob("*/*")
    file.unlink()
    for more in ([], ["--json"]):
        done = caa("backup", home / f"b{len(more)}.db", *more)
        assert done.code == 1 and (home / f"b{len(more)}.db").exists()
    assert "PROBLEM: 1 blob cannot be read in the store" in caa("backup", home / "c.db").err
    assert done.json["lost"] == [f"sha256:{file.name}"]
    found = caa("fsck")
    assert found.code == 1 and "vector team/s:v1" in found.err
    refused = caa("restore", home / "c.db", "--registry", home / "new.db")
    assert refused.code == 1 and "is damaged" in refused.err and not (home / "new.db").exists()
    again = caa("restore", home / "whole.db", "--registry", home / "new.db", "--blobs", home / "new", "--json")
    assert again.json["blobs"] == str(home / "new") and caa("fsck", "--registry", home / "new.db").code == 0


def test_doctor_shows_the_store(home: Path, s3: S3Server, place: str) -> None:
    made(place)
    well = caa("doctor")
    assert well.code == 0 and f"{place}: ready" in well.out and "cache/blobs" in well.out
    s3.faults = [Fault("*", 403, "AccessDenied", times=100)]
    ill = caa("doctor", "--json")
    assert ill.code == 1 and "denied" in ill.json["blobs"]["problem"] and ill.json["advice"]
    assert caa("dataset", "ls").code == caa("vector", "ls").code == 0
    s3.faults = []


def test_the_client_is_not_imported_for_what_needs_no_bytes(home: Path, s3: S3Server, place: str) -> None:
    made(place)
    program = (
        "import sys\nfrom caa_registry.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit('obstore' in sys.modules)"
    )
    for command in (["dataset", "ls"], ["vector", "ls"], ["vector", "show", "team/s"], ["log"], ["init"]):
        assert process(*command, program=program, environment=environment(s3.url)).code == 0, command


def runs(home: Path, vector: str) -> Iterator[Result]:
    """All kinds of output, with and without a store that answers."""
    for more in ([], ["--json"], ["--debug"]):
        for command in (
            ["init"],
            ["fsck"],
            ["gc", "--grace", "0", "--dry-run"],
            ["vector", "show", vector],
            ["vector", "show", vector, "--card"],
            ["vector", "verify", vector],
            ["vector", "export", vector, "--out", home / f"x{len(list(home.iterdir()))}.safetensors"],
            ["vector", "lock", vector, "--out", home / f"x{len(list(home.iterdir()))}.json"],
            ["bundle", "create", vector, "-o", home / f"x{len(list(home.iterdir()))}.caa"],
            ["run", "ls"],
            ["run", "show", "2"],
            ["log"],
            ["lineage", f"vector:{vector}"],
            ["backup", home / f"b{len(list(home.iterdir()))}.db"],
            ["doctor"],
        ):
            yield shown(*command, *more)


@pytest.mark.long
def test_keys_appear_nowhere(home: Path, s3: S3Server, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no output, log, error, card, run, lock, backup or file that is left, whatever the server answers."""
    token, password = "TOKENTOKENTOKENTOKEN", "PROXYPASSWORD"
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{password}@127.0.0.1:1")
    monkeypatch.setenv("RUST_LOG", "trace")
    secrets = [KEY, SECRET, token, password, json.dumps(SECRET)[1:-1]]
    made(place)
    results = list(runs(home, "team/s"))
    assert {result.code for result in results} == {0}
    for fault in (
        Fault("*", 403, "SignatureDoesNotMatch", times=10**6),
        Fault("*", 400, SECRET, times=10**6),
        Fault("*", "refuse", times=10**6),
        Fault("*", 301, "PermanentRedirect", times=10**6),
    ):
        shutil.rmtree(Path(os.environ["CAA_HOME"]) / "cache" / "blobs", ignore_errors=True)
        s3.faults = [fault]
        results += runs(home, "team/s")
    s3.faults = []
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{KEY}:{password}@127.0.0.1:1")
    results += runs(home, "team/s")
    assert any(result.code for result in results)
    for result in results:
        assert not any(secret in result.out + result.err for secret in secrets), result
        assert s3.url not in result.out + result.err
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret.encode() in data for secret in [*secrets, s3.url]), path
