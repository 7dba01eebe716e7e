"""A small HTTP server that stands in for the Hub, and counts what is fetched of each file."""

from __future__ import annotations

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
    """

    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.fetched = dict(repositories), Counter[str]()

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

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            name, rest = found.groups()
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

    def _send_json(self, content: object, with_body: bool) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"}, with_body)

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
