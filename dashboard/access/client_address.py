"""Where a request comes from, as it is shown, written down and counted."""

from __future__ import annotations

import ipaddress

UNKNOWN = "unknown"


def shown_address(remote: str | None) -> str:
    """The address to write down; a text that is none becomes "unknown"."""
    try:
        return str(ipaddress.ip_address((remote or "").partition("%")[0]))
    except ValueError:
        return UNKNOWN


def network_of(address: str) -> str:
    """What failures are counted by: an IPv4 address, or an IPv6 address's /64, which is what one household gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((found, 64), strict=False))
