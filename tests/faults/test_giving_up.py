"""A service that goes on ending is given up: the others go on, and nobody is left to guess."""

import json
import os
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

from tests.faults.marked import CAIRN, Marked


def test_a_service_that_always_fails_is_shown_and_ends_up_with_another_exit_code(tmp_path: Path, kafka: str):
    elsewhere = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "CAIRN_INSTALLATION": f"up-{uuid4().hex[:8]}"}
    up = Marked(*CAIRN, "--home", str(tmp_path), "up", **elsewhere)
    up.until((tmp_path / "up.json").exists, 90)
    (tmp_path / "keys" / "monitor.key").write_text("no key")
    os.kill(up.process_of("-m monitor"), signal.SIGKILL)
    up.until(lambda: "monitor" in json.loads((tmp_path / "up.json").read_text())["given_up"], 60)

    status = subprocess.run(
        [*CAIRN, "--home", str(tmp_path), "status", "--json"], capture_output=True, text=True, check=False
    )
    down = subprocess.run([*CAIRN, "--home", str(tmp_path), "down"], capture_output=True, text=True, check=False)

    states = {one["service"]: one["state"] for one in json.loads(status.stdout)}
    assert states.pop("monitor") == "given up"
    assert set(states.values()) == {"ready"}
    assert status.returncode == 1
    assert down.returncode == 0
    assert up.process.wait(60) == 1
    assert not up.alive()


def test_without_a_kafka_that_can_be_kept_running_all_is_stopped(tmp_path: Path):
    up = Marked(*CAIRN, "--home", str(tmp_path), "up")
    up.until((tmp_path / "up.json").exists, 90)
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    os.kill(up.process_of("kafka.Kafka server.properties"), signal.SIGKILL)
    assert up.process.wait(250) == 3
    assert not up.alive()
