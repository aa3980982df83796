"""`make audit`: ask whether a known weakness is in any package of the image (pip-audit).

The key decision: that nobody could be asked is said, and is a failure only where it has to be known (`--strict`: a
release). A machine without the advisories can still check everything else, and a weakness always fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (ROOT / "deploy/image/requirements-voice.txt",)  # all of requirements.txt is in it, at the same versions
LIMIT_SECONDS = 300.0
FINE, FAILED = 0, 1
UNREACHABLE = ("ConnectionError", "Could not connect", "Timeout", "HTTPError")
"""Words of pip-audit's, or of the libraries that it asks with, when nobody answers."""


class AuditError(Exception):
    """pip-audit could not do its work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask about each file; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("requirements", nargs="*", type=Path, default=REQUIREMENTS, help="files of pins with hashes")
    parser.add_argument("--strict", action="store_true", help="fail too if a package could not be asked about")
    parser.add_argument("--osv-url", help="ask this mirror of OSV instead of PyPI")
    options = parser.parse_args(arguments)
    return max(_audit(path, options.osv_url, strict=options.strict) for path in options.requirements)


def _audit(path: Path, osv_url: str | None, *, strict: bool) -> int:
    try:
        found = _ask(path, osv_url)
    except AuditError as exc:
        print(f"audit: {path.name}: {exc}", file=sys.stderr)
        return FAILED
    if isinstance(found, str):
        print(f"audit: {path.name}: not audited, the advisories cannot be had here ({found})", file=sys.stderr)
        return FAILED if strict else FINE
    weak = [f"{each['name']} {each['version']}: {_weaknesses(each)}" for each in found if each.get("vulns")]
    not_asked = [each["name"] for each in found if "skip_reason" in each]
    for line in weak:
        print(f"audit: {path.name}: {line}", file=sys.stderr)
    if not_asked:
        print(f"audit: {path.name}: nothing is known about {', '.join(not_asked)}", file=sys.stderr)
    if weak or (not_asked and strict):
        return FAILED
    print(f"audit: {path.name}: no known weakness in {len(found) - len(not_asked)} of {len(found)} packages")
    return FINE


def _ask(path: Path, osv_url: str | None) -> list[dict[str, Any]] | str:
    """What pip-audit says of each package, or why the advisories cannot be had.

    Raises:
        AuditError: it could not do its work for another reason, a file that it cannot read for one.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(path)]
    command += ["-f", "json", "--progress-spinner", "off"]
    command += ["-s", "osv", "--osv-url", osv_url] if osv_url else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer in {LIMIT_SECONDS:.0f} s"
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        if any(word in done.stderr for word in UNREACHABLE):
            return said
        raise AuditError(said) from None
    if found and all("skip_reason" in each for each in found):
        return str(found[0]["skip_reason"])
    return found


def _weaknesses(package: dict[str, Any]) -> str:
    return ", ".join(
        f"{each['id']} (mended in {' or '.join(each['fix_versions']) or 'no version'})" for each in package["vulns"]
    )


if __name__ == "__main__":
    sys.exit(main())
