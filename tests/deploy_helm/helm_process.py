"""`python -m tests.deploy_helm.helm_process`: Helm itself, asked by lines of JSON on standard input.

The key decision: a process of its own. Helm comes as a Go library, whose threads and signal handlers are none of the
test runner's business.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python


def answer(question: dict[str, Any]) -> Any:
    """Do one thing with one chart."""
    chart, values = question["chart"], question.get("values")
    if question["do"] == "lint":
        return helm_python.lint(chart, values, strict=True)
    if question["do"] == "package":
        return helm_python.package(chart, destination=question["destination"])
    with helm_python.Chart.load(chart) as loaded:
        if question["do"] == "files":
            return {file["name"]: file["data"] for file in loaded.files}
        loaded.validate_schema(values)
        return loaded.render(values, **question.get("release", {}))


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line))}
        except helm_python.HelmError as exc:
            reply = {"error": str(exc)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
