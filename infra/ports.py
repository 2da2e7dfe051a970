"""Ports of loopback on which nobody listens: one to take, and whether those asked for are."""

import secrets
import socket
from collections.abc import Mapping

from infra.errors import ServiceError

LOOPBACK = "127.0.0.1"
# Linux gives outgoing connections their ports from 32768 up: one of those may be taken in the time
# between being chosen and its server's start.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of loopback that is free, and that no outgoing connection will be given."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port


def check_ports(asked: Mapping[str, int]) -> None:
    """See that nobody listens on loopback ports, and that no two are the same.

    Args:
        asked: each port, by the option that chooses another.

    Raises:
        ServiceError: one is not free; names the option.
    """
    for option, port in asked.items():
        others = [other for other, same in asked.items() if same == port and other != option]
        if others:
            raise ServiceError(
                f"port {port} is asked for twice, by {option} and {others[0]}; choose two"
            )
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise ServiceError(
                    f"port {port} is in use ({error.strerror}); choose another with {option}"
                ) from error
