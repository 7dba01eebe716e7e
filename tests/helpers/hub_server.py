"""A small HTTP server that stands in for the Hub, counts what is fetched of each file, and records what is uploaded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves folders as repositories, with ranges.

    Attributes:
        repositories: name, as `owner/name` → folder.
        fetched: file, as `owner/name/file` → bytes that were sent of it.
        calls: the requests that change something: method, path, and body if it is JSON.
        uploaded: name → file → its bytes, for every commit that was made.
        private: name → whether the repository is private, for those that were made here.
        refuses: whether every request without the right token is answered with 401.
    """

    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.fetched = dict(repositories), Counter[str]()
        self.calls: list[tuple[str, str, object]] = []
        self.uploaded: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.refuses = False
        self._large: dict[str, bytes] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        path, data = self.path.split("?")[0], self._body()
        lines = [json.loads(line) for line in data.splitlines() if line.strip()] if data else []
        self.server.calls.append(("POST", path, lines))
        if self.server.refuses:
            return self._send(401, b'{"error": "Invalid username or password."}', {}, True)
        if path == "/api/repos/create":
            name = "/".join(filter(None, [lines[0].get("organization") or "me", lines[0]["name"]]))
            status = 409 if name in self.server.private else 200
            self.server.private.setdefault(name, lines[0].get("private") or lines[0].get("visibility") == "private")
            self.server.uploaded.setdefault(name, {})
            url = f"{self.server.endpoint}/{name}"
            return self._send_json({"url": url, "name": name, "id": name}, True, status)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in lines[0]["files"]
            ]
            return self._send_json({"files": [{**mode, "shouldIgnore": False} for mode in modes]}, True)
        if found := re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            at = f"{self.server.endpoint}/lfs/"
            objects = [{**o, "actions": {"upload": {"href": at + o["oid"]}}} for o in lines[0]["objects"]]
            return self._send_json({"transfer": "basic", "objects": objects}, True)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(self.server.uploaded[found[1]], lines)
            url = f"{self.server.endpoint}/{found[1]}/commit/{COMMIT}"
            return self._send_json({"commitUrl": url, "commitOid": COMMIT}, True)
        if path == "/api/validate-yaml":
            return self._send_json({"errors": [], "warnings": []}, True)
        return self._send(404, b"{}", {}, True)

    def do_PUT(self) -> None:
        data = self._body()
        self.server.calls.append(("PUT", self.path, len(data)))
        assert hashlib.sha256(data).hexdigest() == self.path.removeprefix("/lfs/")
        self.server._large[self.path.removeprefix("/lfs/")] = data
        self._send(200, b"", {}, True)

    def _body(self) -> bytes:
        if (length := self.headers.get("Content-Length")) is not None:
            return self.rfile.read(int(length))
        parts = []
        while size := int(self.rfile.readline(), 16):  # in chunks
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _commit(self, files: dict[str, bytes], lines: list[dict]) -> None:
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.server._large[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            name, rest = found.groups()
            if name in self.server.uploaded:
                return self._send_json(self._about_uploaded(name, rest or ""), with_body)
            if name in self.server.repositories:
                return self._send_json(self._about(name, rest or ""), with_body)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            name, file = found.groups()
            folder = self.server.repositories.get(name)
            if folder is not None and (folder / file).is_file():
                return self._send_file(f"{name}/{file}", (folder / file).read_bytes(), with_body)
        return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)

    def _about(self, name: str, rest: str) -> object:
        files = sorted(path for path in self.server.repositories[name].iterdir() if path.is_file())
        if rest.startswith("/tree/"):
            return [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _hash(p)} for p in files]
        return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path.name} for path in files], "tags": []}

    def _about_uploaded(self, name: str, rest: str) -> object:
        files = self.server.uploaded[name]
        if rest.startswith("/tree/"):
            return [{"type": "file", "path": p, "size": len(data), "oid": "0" * 40} for p, data in files.items()]
        siblings = [{"rfilename": path} for path in files]
        return {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": self.server.private[name]}

    def _send_json(self, content: object, with_body: bool, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"}, with_body)

    def _send_file(self, name: str, data: bytes, with_body: bool) -> None:
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        status, part = 200, data
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, stop = int(found[1]), int(found[2] or len(data) - 1) + 1
            status, part = 206, data[start:stop]
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        if with_body:
            self.server.fetched[name] += len(part)
        self._send(status, part, headers, with_body)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _hash(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def serving(repositories: Mapping[str, Path]) -> Iterator[HubServer]:
    """Serve folders as repositories of the Hub within the `with` block."""
    with HubServer(repositories) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
