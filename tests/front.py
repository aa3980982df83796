"""The front as it is shipped: nginx with the template of `deploy/nginx`, filled in by its own script, over TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scripts.launcher import probes
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from scripts.parts_of_tests import PLACES
from tests.parts import require
from tests.servers import READY_SECONDS, ROOT, children_of, clean_environment, free_port

SHIPPED = ROOT / "deploy" / "nginx"
NAME = "localhost"
SECONDS = 30.0


@dataclass(frozen=True)
class Certificate:
    """What the front shows, and who vouches for it; `pin` is what Chromium is told to trust it by."""

    chain: Path
    key: Path
    ca_file: Path
    pin: str


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Make an authority and a certificate of it for these names."""
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    made = Certificate(folder / "front.pem", folder / "front-key.pem", folder / "front-ca.pem", _pin(issued))
    made.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made.key))
    authority.cert_pem.write_to_path(str(made.ca_file))
    return made


def _pin(issued: trustme.LeafCert) -> str:
    certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def nginx() -> Path:
    """The program."""
    found = shutil.which("nginx", path=PLACES)
    require("nginx", found, "apt-get install nginx-light")
    return Path(str(found))


class Front:
    """nginx in `folder`; `settings` are variables of deploy/nginx/front.env that differ here."""

    def __init__(self, folder: Path, certificate: Certificate, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = certificate
        self.port, self.http_port, self.dashboard_port = free_port(), free_port(), free_port()
        self.url = f"https://{NAME}:{self.port}"
        self.dashboard_url = f"https://{NAME}:{self.dashboard_port}"
        self._settings = {
            "VOCERO_FRONT_NAME": NAME,
            "VOCERO_FRONT_URL": self.url,
            "VOCERO_FRONT_HTTPS_PORT": f"127.0.0.1:{self.port}",
            "VOCERO_FRONT_HTTP_PORT": f"127.0.0.1:{self.http_port}",
            "VOCERO_FRONT_DASHBOARD_NAME": NAME,
            "VOCERO_FRONT_DASHBOARD_PORT": f"127.0.0.1:{self.dashboard_port}",
            "VOCERO_FRONT_CERTIFICATE": str(certificate.chain),
            "VOCERO_FRONT_CERTIFICATE_KEY": str(certificate.key),
            "VOCERO_FRONT_SERVICE": "vocero_nodes",
            "VOCERO_FRONT_CANARY": "vocero_nodes",
            "VOCERO_FRONT_ACCESS_LOG": str(folder / "access.log"),
            "NGINX_LOCAL_RESOLVERS": "127.0.0.1",
            **settings,
        }
        self._child = Child(
            "nginx",
            [str(nginx()), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"],
            environment=clean_environment(),
            log_path=folder / "nginx.log",
            folder=folder,
        )

    def render(self, **settings: str) -> None:
        """Fill the template in, with other settings than before."""
        self._settings |= settings
        command = ["/bin/sh", str(SHIPPED / "render.sh"), str(self.folder)]
        environment = {"PATH": "/usr/bin:/bin", **self._settings}
        subprocess.run(command, env=environment, check=True, timeout=SECONDS)

    def check(self) -> str:
        """What `nginx -t` says; fails if it finds anything wrong."""
        command = [str(nginx()), "-t", "-c", str(self.folder / "nginx.conf")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self) -> None:
        """Run it; returns when it answers."""
        self.render()
        self._child.start()
        self._child.wait_until_ready(
            lambda: probes.answers(f"http://127.0.0.1:{self.http_port}/front/livez"), READY_SECONDS
        )

    def reload(self, **settings: str) -> None:
        """Take new settings, as an operator does (SIGHUP); returns when only workers that have them accept."""
        self.render(**settings)
        before = set(self.workers())
        os.kill(self._child.pid, signal.SIGHUP)
        wait_until(
            lambda: bool(set(self.workers()) - before) and all(map(_accepts_no_more, before)),
            SECONDS,
            "nginx' new workers",
        )

    def workers(self) -> list[int]:
        """Process ids of its workers, also of those that only end what they have."""
        return children_of(self._child.pid)

    def stop(self) -> None:
        self._child.stop()

    def accesses(self) -> list[dict[str, Any]]:
        """The lines of its access log."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def everything_written(self) -> str:
        """All that it has written to any file."""
        files: Iterable[Path] = (path for path in self.folder.rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files if path.suffix != ".pem")


def _accepts_no_more(worker: int) -> bool:
    try:
        return b"shutting down" in Path(f"/proc/{worker}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


def node_list(*addresses: str) -> str:
    """The value of VOCERO_FRONT_NODES for these HOST:PORT, as front.env has it for one."""
    return " ".join(f"server {address} max_fails=2 fail_timeout=5s;" for address in addresses)
