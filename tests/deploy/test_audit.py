"""`make audit` with pip-audit itself, asking a server that knows one weakness."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from scripts import audit
from tests.parts import require_module
from tests.servers import free_port

WEAK = {
    "vulns": [
        {
            "id": "GHSA-0000-0000-0000",
            "aliases": ["CVE-2000-0001"],
            "details": "It is weak.",
            "published": "2024-01-01T00:00:00Z",
            "modified": "2024-01-01T00:00:00Z",
            "affected": [
                {
                    "package": {"name": "flask", "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.2.5"}]}],
                }
            ],
        }
    ]
}
HASH = f"--hash=sha256:{'0' * 64}"


class Advisories(BaseHTTPRequestHandler):
    """OSV's one question, as https://google.github.io/osv.dev/post-v1-query/ has it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(WEAK if asked["package"]["name"] == "flask" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def advisories() -> Iterator[str]:
    require_module("pip_audit", "dev")
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def pins(folder: Path, *names: str) -> str:
    path = folder / "requirements.txt"
    path.write_text("".join(f"{name}==2.0.0 {HASH}\n" for name in names))
    return str(path)


def test_a_known_weakness_fails_with_its_number_and_the_version_without_it(
    advisories: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([pins(tmp_path, "click", "flask"), "--osv-url", advisories]) == audit.FAILED
    assert "flask 2.0.0: CVE-2000-0001 (mended in 2.2.5)" in capsys.readouterr().err


def test_without_one_it_says_how_many_packages_were_asked_about(
    advisories: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([pins(tmp_path, "click", "jinja2"), "--osv-url", advisories, "--strict"]) == audit.FINE
    assert "no known weakness in 2 of 2 packages" in capsys.readouterr().out


def test_that_nobody_can_be_asked_is_said_and_fails_a_release_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("pip_audit", "dev")
    nobody = ["--osv-url", f"http://127.0.0.1:{free_port()}"]
    assert audit.main([pins(tmp_path, "click"), *nobody]) == audit.FINE
    assert audit.main([pins(tmp_path, "click"), *nobody, "--strict"]) == audit.FAILED
    said = capsys.readouterr()
    assert said.err.count("not audited, the advisories cannot be had here") == 2
    assert "no known weakness" not in said.out


def test_a_file_that_cannot_be_audited_fails_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a mistake in it would look like a machine without a network."""
    require_module("pip_audit", "dev")
    path = tmp_path / "requirements.txt"
    path.write_text("click==2.0.0\n")  # without a hash
    assert audit.main([str(path)]) == audit.FAILED
    assert audit.main([str(tmp_path / "nothing.txt")]) == audit.FAILED
    assert "cannot be had" not in capsys.readouterr().err
