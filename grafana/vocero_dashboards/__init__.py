"""The source of the dashboards: one module a dashboard, `specification` what they consist of, `frame` Grafana's JSON.

The key decision: all of them are listed here, and nothing else knows their names.
"""

from __future__ import annotations

from grafana.vocero_dashboards import conversations, elevenlabs, fallback, foundations, overview
from grafana.vocero_dashboards.specification import Board

BOARDS: tuple[Board, ...] = (overview.BOARD, conversations.BOARD, elevenlabs.BOARD, fallback.BOARD, foundations.BOARD)
