import socket
from pathlib import Path

from infra import ports


def test_a_port_is_free_and_none_that_outgoing_connections_are_given(monkeypatch):
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, ports.free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_PORTS", range(port, port + 2))
        assert {ports.free_port() for _ in range(20)} == {port + 1}
    assert port + 1 < first_given
