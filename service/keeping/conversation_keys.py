"""What lies in Redis of conversations (`redis_keys.CONVERSATION`), and how it is thrown away.

The key decision: one pass over the keys serves any number of erased conversations, because the pass is what costs; SCAN
and UNLINK in small steps keep nobody waiting, and other keys of ours are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

import redis

from service import redis_keys
from service.redis_keys import conversation_of

SCAN_COUNT = 1000
BATCH = 200
_PREFIX = redis_keys.CONVERSATION.prefix.encode()


def delete_conversation_keys(store: redis.Redis, is_erased: Callable[[str], bool]) -> int:
    """Delete the keys of those conversations whose id `is_erased`; the result is how many keys went.

    Raises:
        RedisError: Redis did not answer; what was deleted is deleted.
    """
    matching = cast("Iterator[bytes]", store.scan_iter(match=_PREFIX + b"*", count=SCAN_COUNT))
    theirs = (key for key in matching if is_erased(conversation_of(key)))
    deleted = 0
    while batch := list(islice(theirs, BATCH)):
        deleted += store.unlink(*batch)
    return deleted
