"""Whether a request comes from a page of ours: what a browser says of it, which no other page can make it say.

The key decision: this is asked beside the token, not in its place. A browser that says nothing (none of today's) is let
by, because the token decides then; one that names another origin is refused whatever token it shows.
"""

from __future__ import annotations

from werkzeug.datastructures import Headers

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def is_foreign(headers: Headers, *, ours: frozenset[str]) -> bool:
    """Tell whether the browser says that another origin than `ours` asks (`scheme://host[:port]`)."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return True
    origin = headers.get("Origin")
    return origin is not None and origin not in ours


def trusted_hosts(url: str | None) -> list[str]:
    """The names that we answer to: that of `url`, and this machine's own.

    A web site that resolves to our address under a name of its own (DNS rebinding) is refused before anything else.
    """
    if url is None:
        return list(LOOPBACK)
    host = url.split("://", 1)[1].rsplit("@", 1)[-1]
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return [name, *LOOPBACK]
