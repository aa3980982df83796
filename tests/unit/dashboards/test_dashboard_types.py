"""The committed dashboards against Grafana's own types (`@grafana/schema`), by the TypeScript compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from grafana import queries
from tests.parts import require, require_program
from tests.servers import ROOT

TYPES = Path(__file__).with_name("dashboard_types.ts")
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
# Each must be an error, or the compiler complains that it is none.
WRONG = """\
import type { OurDashboard } from './dashboard_types';
type OurPanel = OurDashboard['panels'][number];
type Lines = Extract<OurPanel, { type: 'timeseries' }>;
// @ts-expect-error a plugin that we do not use
export const plugin: OurPanel['type'] = 'graph';
// @ts-expect-error a text that is none of the enum's
export const stacking: NonNullable<Lines['fieldConfig']['defaults']['custom']>['stacking'] = { mode: 'piled' };
// @ts-expect-error an option that there is not
export const options: Lines['options'] = { legned: {} };
"""


def test_each_dashboard_is_one_by_grafanas_own_types(tmp_path: Path) -> None:
    require("@grafana/schema", (PACKAGES / "@grafana" / "schema").is_dir(), "npm ci in tests/browser/javascript")
    node = require_program("node", remedy="apt-get install npm")
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.ts"]}))
    shutil.copy(TYPES, tmp_path)
    (tmp_path / "wrong.ts").write_text(WRONG)
    for name, board in queries.dashboards().items():
        head = "import type { OurDashboard } from './dashboard_types';\nexport const board: OurDashboard = "
        (tmp_path / name).with_suffix(".ts").write_text(f"{head}{json.dumps(board, indent=1)};\n")
    compiler = PACKAGES / "typescript" / "bin" / "tsc"
    said = subprocess.run([node, compiler, "-p", tmp_path], capture_output=True, text=True, timeout=120, check=False)
    if said.returncode:
        pytest.fail(said.stdout[:4000])
