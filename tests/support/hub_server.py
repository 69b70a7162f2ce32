"""A small hub on 127.0.0.1 that speaks enough of the API for the hub's client: datasets and models, commits, branches,
tags, private and gated repositories, downloads whole and in ranges, large files.

    with HubServer() as hub:
        commit = hub.commit("team/pairs", {"pairs.jsonl": b"..."})
        point_client_at(monkeypatch, hub.url, tmp_path)      # this process
        subprocess.run(..., env=client_environment(hub.url, tmp_path))      # another one
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from support.loopback import LoopbackHandler, LoopbackServer

TOKEN = "hf_for_tests_only"

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE")


@dataclass
class Repository:
    """A repository of a dataset or a model: commits by hash, and names (branches and tags) that point to them."""

    private: bool = False
    gated: bool = False
    card: dict[str, Any] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


class HubServer(LoopbackServer):
    """Serves its repositories until the ``with`` block ends. ``requests`` lists what was asked, as ``METHOD path``."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.failing: int | None = None  # an HTTP status that every request gets
        self.breaking: int | None = None  # so many bytes of a file's body, or of a commit, and the connection is closed
        self.large: dict[str, bytes] = {}  # by SHA-256, as they were uploaded
        self.sent: dict[str, int] = {}  # bytes of each file that were given out

    def repository(self, repo: str, **settings: Any) -> Repository:
        """The repository ``repo``, made if it is new; ``private=``, ``gated=`` and ``card=`` set it up."""
        repository = self.repositories.setdefault(repo, Repository())
        for name, value in settings.items():
            setattr(repository, name, value)
        return repository

    def commit(self, repo: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """A new commit that holds exactly ``files``, and ``branch`` moved to it. Returns its 40-hex name."""
        repository = self.repository(repo)
        parts = [repo, str(len(repository.commits)), *(f"{name}:{data!r}" for name, data in files.items())]
        name = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        repository.commits[name] = dict(files)
        repository.names[branch] = name
        return name

    def tag(self, repo: str, name: str, commit: str) -> None:
        """``name`` points to ``commit`` from now on."""
        self.repositories[repo].names[name] = commit


def _upload_mode(name: str) -> str:
    return "lfs" if name.endswith((".safetensors", ".caa")) else "regular"


class _Handler(LoopbackHandler):
    owner: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        hub = self.owner
        path = urlsplit(self.path).path
        hub.requests.append(f"POST {path}")
        body = self._body()
        if hub.failing is not None:
            return self._refuse(hub.failing, "", "out of order")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "", "Invalid username or password.")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._lfs(json.loads(body))
        if parts[0] == "api" and parts[1] in ("datasets", "models") and len(parts) >= 6:
            repo, what, branch = "/".join(parts[2:4]), parts[4], "/".join(parts[5:])
            if what == "preupload":
                files = [
                    {"path": f["path"], "uploadMode": _upload_mode(f["path"]), "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                return self._json({"files": files})
            if what == "branch":
                return self._branch(repo, branch)
            if what == "commit":
                return self._store(repo, branch, body)
        return self._refuse(404, "", "no such page")

    def do_PUT(self) -> None:
        """The bytes of a large file, at the address that ``_lfs`` gave."""
        hub = self.owner
        path = urlsplit(self.path).path
        hub.requests.append(f"PUT {path}")
        body = self._body()
        if hub.breaking is not None:
            return self._hang_up()
        hub.large[path.rpartition("/")[2]] = body
        return self._send(200, b"", {})

    def _lfs(self, wanted: dict[str, Any]) -> None:
        """Where large files are to be put, but for those that are there."""
        objects = [
            {"oid": each["oid"], "size": each["size"]}
            if each["oid"] in self.owner.large
            else {
                "oid": each["oid"],
                "size": each["size"],
                "authenticated": True,
                "actions": {"upload": {"href": f"{self.owner.url}/large/{each['oid']}", "header": {}}},
            }
            for each in wanted["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _branch(self, repo: str, branch: str) -> None:
        names = self.owner.repositories[repo].names
        if branch in names:
            return self._refuse(409, "", "Reference already exists")
        names[branch] = names["main"]
        return self._json({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        if repo in self.owner.repositories:
            about = {"error": "You already created this dataset repo", "url": f"{self.owner.url}/datasets/{repo}"}
            return self._send(409, json.dumps(about).encode(), {"Content-Type": "application/json"})
        self.owner.repository(repo, private=bool(wanted.get("private")) or wanted.get("visibility") == "private")
        self.owner.commit(repo, {".gitattributes": b""})
        return self._json({"url": f"{self.owner.url}/datasets/{repo}", "name": repo})

    def _store(self, repo: str, branch: str, body: bytes) -> None:
        if self.owner.breaking is not None:
            return self._hang_up()
        repository = self.owner.repositories[repo]
        if branch not in repository.names:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        files = dict(repository.commits[repository.names[branch]])
        for line in body.splitlines():
            said = json.loads(line)
            if said["key"] == "file":
                files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            if said["key"] == "lfsFile":
                files[said["value"]["path"]] = self.owner.large[said["value"]["oid"]]
            if said["key"] == "deletedFile":
                del files[said["value"]["path"]]
        name = self.owner.commit(repo, files, branch=branch)
        url = f"{self.owner.url}/datasets/{repo}/commit/{name}"
        return self._json({"success": True, "commitOid": name, "commitUrl": url, "hookOutput": ""})

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self) -> None:
        hub = self.owner
        path = urlsplit(self.path).path
        hub.requests.append(f"{self.command} {path}")
        if hub.failing is not None:
            return self._refuse(hub.failing, "", "out of order")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api" and parts[1] in ("datasets", "models") and len(parts) >= 4:
            return self._api("/".join(parts[2:4]), parts[4:])
        if parts[0] == "datasets" and len(parts) >= 6 and parts[3] == "resolve":
            return self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self._refuse(404, "", "no such page")

    def _repository(self, repo: str) -> Repository | None:
        repository = self.owner.repositories.get(repo)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            self._refuse(404 if allowed else 401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _commit(self, repository: Repository, revision: str) -> str | None:
        name = repository.names.get(revision, revision)
        if name not in repository.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return name

    def _api(self, repo: str, rest: list[str]) -> None:
        repository = self._repository(repo)
        if repository is None:
            return
        if rest and rest[0] in ("paths-info", "tree"):
            return self._paths(repository, rest)
        if rest and rest[0] != "revision":
            return self._refuse(404, "", "no such page")
        commit = self._commit(repository, "/".join(rest[1:]) or "main")
        if commit is None:
            return
        about = {
            "_id": "0" * 24,
            "id": repo,
            "sha": commit,
            "private": repository.private,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "cardData": repository.card,
            "siblings": [
                {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                for name, data in repository.commits[commit].items()
            ],
        }
        self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _paths(self, repository: Repository, rest: list[str]) -> None:
        commit = self._commit(repository, rest[1])
        if commit is not None:
            files = repository.commits[commit].items()
            self._json(
                [{"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in files]
            )

    def _file(self, repo: str, revision: str, name: str) -> None:
        repository = self._repository(repo)
        if repository is None:
            return
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo", "Access to this dataset is restricted")
        commit = self._commit(repository, revision)
        if commit is None:
            return
        data = repository.commits[commit].get(name)
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        etag = hashlib.sha256(data).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._give(name, 200, data, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._give(name, 206, data[first : last + 1], headers)

    def _give(self, name: str, status: int, data: bytes, headers: dict[str, str]) -> None:
        hub = self.owner
        if self.command != "HEAD":
            hub.sent[name] = hub.sent.get(name, 0) + len(data)
            if hub.breaking is not None:
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data[: hub.breaking])
                self.wfile.flush()
                return self._hang_up()
        return self._send(status, data, headers)

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        said = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self._send(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **said})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _settings(url: str, home: Path, token: str | None) -> dict[str, str]:
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return settings | ({"HF_TOKEN": token} if token else {})


def client_environment(url: str, home: Path, token: str | None = None) -> dict[str, str]:
    """The environment for a process whose hub is ``url`` and whose cache and token file are in ``home``."""
    kept = {key: value for key, value in os.environ.items() if key not in (*_PROXIES, *_TOKENS)}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        kept.pop(name, None)
    return kept | _settings(url, home, token)


def point_client_at(monkeypatch: pytest.MonkeyPatch, url: str, home: Path, token: str | None = None) -> None:
    """The same for this process. The client reads most settings once, at import, so its constants are set too."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    for name in (*_PROXIES, *_TOKENS):
        monkeypatch.delenv(name, raising=False)
    for name, value in _settings(url, home, token).items():
        monkeypatch.setenv(name, value)
    for name, setting in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, setting)
    close_session()


HubServer.handler = _Handler
