"""Values against the types of other people's packages, by the TypeScript compiler."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.parts import require, require_program
from tests.servers import ROOT

PACKAGES = ROOT / "tests" / "browser" / "javascript" / "node_modules"
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "module": "esnext",
    "moduleResolution": "bundler",
    "target": "es2022",
    "skipLibCheck": True,
    "types": [],
    "preserveSymlinks": True,
}
SECONDS = 120


def require_types(package: str) -> None:
    """Need the types of a package of ours, and what runs the compiler."""
    require(package, (PACKAGES / package).is_dir(), "npm ci in tests/browser/javascript")
    require_program("node", remedy="apt-get install npm")


def compile_types(folder: Path, files: Mapping[str, str]) -> None:
    """Fail with what the compiler says of `files` (name to text), which are written into the empty `folder`."""
    node = require_program("node", remedy="apt-get install npm")
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.ts"]}))
    for name, text in files.items():
        (folder / name).write_text(text)
    compiler = PACKAGES / "typescript" / "bin" / "tsc"
    said = subprocess.run([node, compiler, "-p", folder], capture_output=True, text=True, timeout=SECONDS, check=False)
    if said.returncode:
        pytest.fail(said.stdout[:4000])
