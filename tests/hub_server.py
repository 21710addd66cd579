"""A model hub on the loopback interface for the huggingface_hub client, with faults to inject.

The one local hub in the package index, hf-local-hub, starts a Go program that its wheel does not hold; hence this.

    with HubServer() as hub:
        commit = hub.add("org/name", {"a.bin": b"..."})
        hub.fault("GET", "*/a.bin", "cut", 1000, times=1)
        hf_hub_download("org/name", "a.bin", revision=commit, endpoint=hub.url)
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
import socket
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
ZEROS = gzip.compress(bytes(2**24))


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """What happens to requests of a method whose path matches a shell pattern; see `HubServer.fault`."""

    method: str
    pattern: str
    action: str
    value: Any
    times: float

    def meets(self, request: Request) -> bool:
        return self.times > 0 and self.method in (request.method, "*") and fnmatchcase(request.path, self.pattern)


class Repository:
    """The commits of one repository, each a snapshot of all its files; `refs` names some of them."""

    def __init__(self, private: bool = False) -> None:
        self.commits: dict[str, Files] = {}
        self.refs: dict[str, str] = {}
        self.private = private
        self.commit({})

    def commit(self, files: Files, branch: str = "main") -> str:
        content = [sorted((path, hashlib.sha1(data).hexdigest()) for path, data in files.items()), len(self.commits)]
        sha = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        self.commits[sha] = files
        self.refs[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        sha = self.refs.get(revision, revision)
        return sha if sha in self.commits else None


class HubServer:
    """Serves repositories until the `with` block ends.

    Attributes:
        url: the endpoint, "http://127.0.0.1:PORT".
        repositories: by "ORG/NAME".
        log: the requests so far.
        token: what clients must present, or None.
        lfs: shell pattern of the files that are uploaded by themselves, before the commit; "" for none.
        large: what was uploaded so, by its SHA-256.
        sent: how many bytes of bodies without end clients have taken.
    """

    def __init__(self, token: str | None = None, lfs: str = "") -> None:
        self.repositories: dict[str, Repository] = {}
        self.lfs = lfs
        self.large: Files = {}
        self.sent = 0
        self.log: list[Request] = []
        self.token = token
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, repository: str, files: Files) -> str:
        """Commit files to a repository, beside those that it has, and return the commit."""
        with self._lock:
            known = self.repositories.setdefault(repository, Repository())
            return known.commit({**known.commits[known.refs["main"]], **files})

    def files(self, repository: str, revision: str = "main") -> Files:
        """The files of a repository at a revision."""
        known = self.repositories[repository]
        return known.commits[known.resolve(revision) or revision]

    def requests(self, method: str = "*", pattern: str = "*") -> list[Request]:
        """The requests so far of a method and of paths that match a shell pattern."""
        return [r for r in self.log if method in (r.method, "*") and fnmatchcase(r.path, pattern)]

    def fault(self, method: str, pattern: str, action: str, value: Any = None, times: float = math.inf) -> None:
        """Let requests go wrong; the earliest rule that matches and is not used up applies.

        Args:
            method: "GET", "HEAD", "POST", or "*" for all.
            pattern: shell pattern of the path, such as "*.weights.h5".
            action: one of
                "close": hang up without an answer;
                "cut": hang up after `value` bytes of the body;
                "slow": wait `value` seconds before the answer;
                "meet": wait at the barrier `value` before the answer, until as many requests are there as it is for;
                "trickle": wait `value` seconds before every 16 KiB of the body;
                "drip": wait before every byte of the "headers" or of the "body"; `value` is a pair of this and seconds;
                "endless": a status and headers, the pair `value`, and then a body without end: chunked or compressed,
                    if the headers say so;
                "status": answer `value`, a status or a pair of a status and headers;
                "length": a Content-Length that is `value` too large (or, below zero, too small);
                "flip": one bit of the body is wrong;
                "redirect": to another path of this host ("relative") or to another host ("absolute").
            value: see there.
            times: how often.
        """
        with self._lock:
            self._faults.append(Fault(method, pattern, action, value, times))

    def clear(self) -> None:
        """No more faults, and an empty log."""
        with self._lock:
            self._faults.clear()
            self.log.clear()

    def _note(self, request: Request) -> Fault | None:
        with self._lock:
            self.log.append(request)
            for fault in self._faults:
                if fault.meets(request):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold back every body for 40 ms
    fault: Fault | None = None

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        try:
            self._route()
        except (ConnectionError, TimeoutError):  # the client hung up
            self.close_connection = True

    do_HEAD = do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def _route(self) -> None:
        body = self._body()  # in any case, or what is left of it would be taken for the next request
        path = unquote(urlsplit(self.path).path)
        fault = self.fault = self.hub._note(Request(self.command, path, dict(self.headers.items())))
        if fault:
            if fault.action == "close":
                return self._hang_up()
            if fault.action == "slow":
                threading.Event().wait(fault.value)  # not `time.sleep`, which a test may shorten
            if fault.action == "meet":
                fault.value.wait(60)
            if fault.action == "status":
                status, headers = fault.value if isinstance(fault.value, tuple) else (fault.value, {})
                return self._send(status, b"", headers)
            if fault.action == "redirect":
                host = "" if fault.value == "relative" else f"http://localhost:{self.hub.port}"
                self.fault = None
                return self._resolve(f"{host}/moved{self.path}", *_split(path)) if _split(path) else self._missing()
        if path.startswith("/large/"):  # a signed address, too
            oid = path.removeprefix("/large/")
            if hashlib.sha256(body).hexdigest() != oid:
                return self._send(400, b"")
            self.hub.large[oid] = body
            return self._send(200, b"")
        if path.startswith("/moved/"):  # a signed address: asks for no token
            path = path.removeprefix("/moved")
        elif not self._allowed():
            return None
        if parts := _split(path):
            return self._resolve(None, *parts)
        return self._api(path, body)

    def _allowed(self) -> bool:
        if self.hub.token is None or self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return True
        if "Authorization" in self.headers:
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        else:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
        return False

    def _find(self, name: str, revision: str) -> tuple[Repository | None, str | None]:
        """A repository and the commit that a revision names; where one of them is missing, that is answered."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._missing()
            return None, None
        sha = repository.resolve(revision)
        if sha is None:
            self._missing("RevisionNotFound")
        return repository, sha

    def _resolve(self, location: str | None, name: str, revision: str, path: str) -> None:
        """A file, or where it has moved to."""
        repository, sha = self._find(name, revision)
        if repository is None or sha is None:
            return None
        commit = {"X-Repo-Commit": sha}
        if path not in repository.commits[sha]:
            return self._missing("EntryNotFound", commit)
        content = repository.commits[sha][path]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if location:
            linked = {"Location": location, "X-Linked-Etag": etag, "X-Linked-Size": str(len(content)), **commit}
            return self._send(307 if location.startswith("/") else 302, b"", linked)
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **commit}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            if start >= len(content):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(206, content[start : end + 1], headers)
        return self._send(200, content, headers)

    def _api(self, path: str, body: bytes) -> None:
        if path == "/api/whoami-v2":
            return self._json({"type": "user", "name": "tester", "orgs": [{"name": "org"}], "auth": {"type": "token"}})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._json({"transfer": "basic", "objects": [self._large(x) for x in json.loads(body)["objects"]]})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.*))?)?", path)
        if not found:
            return self._send(404, b"")
        name, action, revision, folder = found[1], found[2] or "revision", found[3] or "main", found[4] or ""
        repository, sha = self._find(name, revision)
        if repository is None or sha is None:
            return None
        files = repository.commits[sha]
        if action == "revision":
            siblings = [{"rfilename": file} for file in sorted(files)]
            return self._json(
                {"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": siblings}
            )
        if action == "tree":
            return self._json([self._describe(file, files[file]) for file in sorted(files) if file.startswith(folder)])
        if action == "paths-info":
            asked = json.loads(body)["paths"]
            return self._json([self._describe(file, files[file]) for file in asked if file in files])
        if action == "preupload":
            return self._json({"files": [self._upload(file, files) for file in json.loads(body)["files"]]})
        if action == "commit":
            return self._commit(name, repository, sha, body)
        return self._send(404, b"")

    def _create(self, asked: dict[str, Any]) -> None:
        organization = asked.get("organization") or "tester"
        name = f"{organization}/{asked['name']}"
        with self.hub._lock:
            known = name in self.hub.repositories
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.repositories.setdefault(name, Repository(bool(private)))
        self._json({"url": f"{self.hub.url}/{name}", "id": name}, 409 if known else 200)

    def _commit(self, name: str, repository: Repository, parent: str, body: bytes) -> None:
        files = dict(repository.commits[parent])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", parent) != parent:
                return self._json({"error": "the branch has moved on"}, 412)
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif line["key"] == "deletedFolder":
                files = {file: data for file, data in files.items() if not file.startswith(value["path"])}
        with self.hub._lock:
            sha = repository.commit(files)
        self._json({"success": True, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def _large(self, file: dict[str, Any]) -> dict[str, Any]:
        """Where a client shall upload a large file; nowhere if it is here."""
        if file["oid"] in self.hub.large:
            return file
        return {**file, "actions": {"upload": {"href": f"{self.hub.url}/large/{file['oid']}"}}}

    def _describe(self, path: str, content: bytes) -> dict[str, Any]:
        described = {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
        if not fnmatchcase(path, self.hub.lfs):
            return described
        large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return {**described, "oid": _blob(repr(large).encode()), "lfs": large}  # Git sees only a pointer

    def _upload(self, file: dict[str, Any], files: Files) -> dict[str, Any]:
        """How a client shall upload a file. One that is here already has its oid."""
        path = file["path"]
        large = fnmatchcase(path, self.hub.lfs)
        answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if path in files:
            answer["oid"] = hashlib.sha256(files[path]).hexdigest() if large else _blob(files[path])
        return answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _missing(self, what: str = "RepoNotFound", headers: dict[str, str] | None = None) -> None:
        self._send(404, b"", {"X-Error-Code": what, **(headers or {})})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        action, value = (self.fault.action, self.fault.value) if self.fault else (None, None)
        if action == "flip" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if action == "endless":
            return self._send_for_ever(value[0], {**(headers or {}), **value[1]})
        if action == "drip" and value[0] == "headers":
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
                threading.Event().wait(value[1])
                self.wfile.write(bytes([byte]))
        length = len(body) + (value if action == "length" else 0)
        self.send_response(status)
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if action == "cut":
            self.wfile.write(body[:value])
            return self._hang_up()
        if action in ("trickle", "drip"):
            step, pause = (2**14, value) if action == "trickle" else (1, value[1])
            for start in range(0, len(body), step):
                threading.Event().wait(pause)
                self.wfile.write(body[start : start + step])
            return
        self.wfile.write(body[:length])
        if length > len(body):
            self._hang_up()

    def _send_for_ever(self, status: int, headers: dict[str, str]) -> None:
        """Zeros until the client hangs up; compressed, if the headers say so."""
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.end_headers()
        self.close_connection = True
        part = ZEROS if "Content-Encoding" in headers else bytes(2**16)
        chunked = "Transfer-Encoding" in headers
        while True:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            self.hub.sent += len(part)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _split(path: str) -> tuple[str, str, str] | None:
    """Repository, revision and file of the address of a file."""
    found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    return (found[1], found[2], found[3]) if found else None


def _blob(content: bytes) -> str:
    """Git's name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
