"""The version stands in setup.cfg, and everything that tells one tells that."""

from __future__ import annotations

import configparser
import re

from service import __version__
from tests.servers import ROOT


def test_what_is_installed_is_what_setup_cfg_says() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == __version__, "make environment"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_changelog_has_it_or_something_that_is_to_come() -> None:
    newest = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] in {"Unreleased", __version__}
