"""Who is at the other end: the peer, or what a proxy we trust says about it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

UNKNOWN: Final = "unknown"


class TrustedProxies:
    """`X-Forwarded-For` is read from right to left, as far as the hops are proxies of ours; the rest anybody can write."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)

    def source(self, client: tuple[str, int] | None, headers: dict[bytes, bytes]) -> tuple[bool, str]:
        """(the peer is a proxy of ours, address of the client)."""
        peer = _address(client[0]) if client else None
        if peer is None:
            return False, UNKNOWN
        if not self.trusts(peer):
            return False, str(peer)
        at = peer
        for hop in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            stated = _address(hop.strip())
            if stated is None:
                break
            at = stated
            if not self.trusts(stated):
                break
        return True, str(at)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def source_group(source: str) -> str:
    """What one attacker controls: an IPv4 address, or a whole /64 of IPv6."""
    address = _address(source)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return source
