"""What an API key of ours may do: its scopes, its places at the same time, its characters a day.

- `key_limits.py`: what callers see.
- `key_leases.py`: the places, as leases that all workers of all nodes share.
- `key_characters.py`: the characters of a day.
"""

from service.key_limits.key_characters import characters_used
from service.key_limits.key_leases import KeyBound
from service.key_limits.key_limits import KeyLimits, KeyUse, bound_of, require_scope

__all__ = ["KeyBound", "KeyLimits", "KeyUse", "bound_of", "characters_used", "require_scope"]
