"""A certificate for the fake upstream, and the authority that its clients trust: new for each run, gone after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

SERVER_NAME = "localhost"


@dataclass(frozen=True)
class Certificate:
    """Files: `server` has the key and the certificate (an elliptic curve's, as ElevenLabs'), `authority` its issuer."""

    server: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """For SERVER_NAME and 127.0.0.1."""
    authority = trustme.CA()
    found = Certificate(server=folder / "upstream.pem", authority=folder / "authority.pem")
    authority.issue_cert(SERVER_NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(found.server))
    authority.cert_pem.write_to_path(str(found.authority))
    # nginx's worker is not always who its master is.
    found.authority.chmod(0o644)
    return found
