"""The account-wide limiter: one lease per running conversation or request, shared by all workers of all nodes.

ElevenLabs sells concurrency. `AccountLimiter` hands out what was bought, in turn, and never more. Its parts:

- `limiter.lua`: the account's ledger, kept in Redis by one script. The rules are there.
- `ledger.py`: what a process says to the script and hears from it.
- `keeper.py`: the one thread of a process that talks to the ledger for all of its leases and waiters.
- `claims.py`: what a process remembers of each of them, without any I/O.
- `account_limiter.py`: what callers see.
"""

from service.account_limiter.account_limiter import AccountLimiter, Lease, QueuePosition
from service.account_limiter.claims import Priority
from service.account_limiter.limiter_stats import LimiterStats

__all__ = ["AccountLimiter", "Lease", "LimiterStats", "Priority", "QueuePosition"]
