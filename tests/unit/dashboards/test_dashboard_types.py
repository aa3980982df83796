"""The committed dashboards against Grafana's own types (`@grafana/schema`), by the TypeScript compiler."""

from __future__ import annotations

import json
from pathlib import Path

from grafana import queries
from tests.typescript import compile_types, require_types

TYPES = Path(__file__).with_name("dashboard_types.ts")
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
    require_types("@grafana/schema")
    files = {TYPES.name: TYPES.read_text(), "wrong.ts": WRONG}
    for name, board in queries.dashboards().items():
        head = "import type { OurDashboard } from './dashboard_types';\nexport const board: OurDashboard = "
        files[str(Path(name).with_suffix(".ts"))] = f"{head}{json.dumps(board, indent=1)};\n"
    compile_types(tmp_path, files)
