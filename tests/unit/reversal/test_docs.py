"""The runbook and the program say the same."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from scripts.reversal.conductor import FORWARD
from scripts.reversal.exit_codes import ExitCode
from scripts.reversal.options import read_options
from tests.servers import ROOT

DOCUMENT = (ROOT / "docs" / "rollback.md").read_text()
COMMAND = re.compile(r"python -m scripts\.rollback([^`\n#|]*)")


def commands() -> list[str]:
    found = {match[1].partition("(or back")[0].strip() for match in COMMAND.finditer(DOCUMENT.replace("\\\n", " "))}
    return sorted(command for command in found if "..." not in command)


@pytest.mark.parametrize("command", commands())
def test_every_command_in_it_is_one(command: str) -> None:
    read_options(shlex.split(command))


def test_the_manifests_are_yaml_and_their_command_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    claim, job = yaml.safe_load_all(block)
    assert (claim["kind"], job["kind"], job["spec"]["backoffLimit"]) == ("PersistentVolumeClaim", "Job", 0)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert read_options(container["command"][3:]).command == "plan"


def test_it_has_every_exit_code_and_every_step() -> None:
    codes = re.findall(r"^\| (\d+) \| ", DOCUMENT, re.MULTILINE)
    assert codes == [str(code.value) for code in ExitCode]
    steps = re.findall(r"^\| (\w+) \| [a-zA-Z`]", DOCUMENT.partition("| step | what")[2], re.MULTILINE)
    assert steps[: len(FORWARD)] == list(FORWARD)


def test_what_messages_refer_to_is_there() -> None:
    sources = [path.read_text() for path in (ROOT / "scripts" / "reversal").rglob("*.py")]
    named = {name for source in sources for name in re.findall(r"docs/rollback\.md, ['\"]([^'\"]+)['\"]", source)}
    assert named
    headings = set(re.findall(r"^#+ (.+)$", DOCUMENT, re.MULTILINE))
    assert named - headings == set()
