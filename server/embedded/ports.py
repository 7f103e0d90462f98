"""Free ports on loopback, outside the range from which the kernel hands out ports to outgoing connections.

A port of that range may be taken by any connection between our look and the server's start, or while the server is down for a moment.
"""

import random
import socket
from itertools import islice
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
ALL: Final = range(10_240, 65_536)
HANDED_OUT: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
HANDED_OUT_ELSEWHERE: Final = range(49_152, 65_536)  # IANA's dynamic ports, where the kernel does not say
_shuffled: Final = random.SystemRandom()


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def handed_out() -> range:
    """The ports that the kernel gives to outgoing connections."""
    try:
        low, high = map(int, HANDED_OUT.read_text().split())
    except (OSError, ValueError):
        return HANDED_OUT_ELSEWHERE
    return range(low, high + 1)


def lasting_ports() -> list[int]:
    """The ports that only somebody gets who asks for them by number; all there are where the kernel hands out nearly all."""
    taken = handed_out()
    return [port for port in ALL if port not in taken] or list(ALL)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different. Another process may take one before we do: callers try again."""
    ports = lasting_ports()
    _shuffled.shuffle(ports)
    return list(islice(filter(is_free, ports), count))
