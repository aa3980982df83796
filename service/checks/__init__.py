"""`python -m service check`: whether what the service needs is there, and what to do where it is not.

The key decision: each check really does what the service will do (logs in, writes, asks with the key) and leaves
nothing behind. All run at once, each within its own bound, so that one dependency that hangs hides no other.
"""

from service.checks.all_checks import run_checks
from service.checks.finding import Finding, State, worst

__all__ = ["Finding", "State", "run_checks", "worst"]
