import socket
from pathlib import Path

import pytest

from cairn.local import StartFailed
from cairn.local.ports import kept_ports, refuse_taken_ports


def test_ports_once_chosen_are_kept(tmp_path: Path) -> None:
    ports = kept_ports(tmp_path / "ports.json", 0, 0)
    assert len(set(ports)) == 2
    assert kept_ports(tmp_path / "ports.json", 0, 0) == ports


def test_a_wanted_port_replaces_the_kept_one(tmp_path: Path) -> None:
    _, other = kept_ports(tmp_path / "ports.json", 0, 0)
    assert kept_ports(tmp_path / "ports.json", 1234, 0) == (1234, other)
    assert kept_ports(tmp_path / "ports.json", 0, 0) == (1234, other)


def test_no_port_is_one_that_the_system_gives_to_clients(tmp_path: Path) -> None:
    assert all(20_000 <= kept_ports(tmp_path / str(number), 0)[0] < 30_000 for number in range(20))


def test_a_port_at_which_another_program_listens_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StartFailed, match=f"Kafka cannot listen at 127.0.0.1:{port}"):
            refuse_taken_ports("Kafka", (port,))
    refuse_taken_ports("Kafka", (port,))


def test_a_server_that_wants_more_ports_than_before_keeps_those_it_had(tmp_path):
    had = kept_ports(tmp_path / "ports.json", 0, 0)
    now = kept_ports(tmp_path / "ports.json", 0, 0, 0)
    assert now[:2] == had
    assert len(set(now)) == 3
