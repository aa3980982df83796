"""`python -m dashboard check`: whether what the dashboard needs is there, and what to do where it is not.

The key decision: it is a command of the dashboard's own. What the provider of OpenID Connect is called, and what is
known of it, are settings of the dashboard's that the service does not read; what both need is looked at by the same
code (`service.checks`).
"""

from dashboard.checks.all_checks import run_checks

__all__ = ["run_checks"]
