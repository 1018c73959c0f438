"""What a schema cannot see in the compose file: that its parts name each other rightly."""

import re
from pathlib import Path

import pytest
import yaml

from cairn.declaration import read_document
from cairn.events import ALL_SERVICES
from gateway.domain import Configuration

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
TEXT = (ROOT / "docker-compose.yml").read_text()
PARTS = COMPOSE["services"]


def test_every_service_and_a_serving_process_are_there():
    assert {*ALL_SERVICES, "serving", "kafka", "postgres", "object-store"} <= PARTS.keys()


@pytest.mark.parametrize("name", PARTS)
def test_a_part_depends_only_on_parts_that_are_there(name):
    assert set(PARTS[name].get("depends_on", {})) <= PARTS.keys()


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_waited_for_until_healthy_has_a_health_check(name):
    for needed, how in PARTS[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in PARTS[needed]


@pytest.mark.parametrize("name", PARTS)
def test_a_named_volume_is_declared(name):
    for volume in PARTS[name].get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).exists()


@pytest.mark.parametrize("name", PARTS)
def test_a_published_port_is_for_this_machine_alone(name):
    for port in PARTS[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d{2,5}:\d{2,5}", port)


def test_every_required_variable_has_an_example_and_the_other_way_round():
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))
    given = {line.split("=")[0] for line in (ROOT / "deploy/example.env").read_text().splitlines() if "=" in line}
    assert required == given


@pytest.mark.parametrize("service", ALL_SERVICES)
def test_each_service_has_its_own_database_user_and_key(service):
    module, environment = service.replace("-", "_"), PARTS[service]["environment"]
    assert PARTS[service]["command"] == [module]
    assert environment["CAIRN_KEY_FILE"] == f"/keys/{service}.key"
    assert environment["DATABASE_URL"].startswith(f"postgresql://{module}:${{{module.upper()}_PASSWORD")
    assert environment["DATABASE_URL"].endswith(f"@postgres/{module}")
    assert module in (ROOT / "deploy/postgres.sh").read_text()


@pytest.mark.parametrize("name", [*ALL_SERVICES, "serving"])
def test_our_image_runs_without_privileges(name):
    part = PARTS[name]
    assert part["read_only"]
    assert part["cap_drop"] == ["ALL"]


def test_the_image_does_not_run_as_root_and_has_a_health_check():
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    assert "USER cairn" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)


def test_the_gateway_is_left_out_unless_asked_for_and_its_file_can_be_read():
    assert PARTS["gateway"]["profiles"] == ["gateway"]
    file = ROOT / "deploy/gateway.yaml"
    assert read_document(file, file.name, Configuration) == Configuration()
    shown = "\n".join(line.replace("#  ", "  ", 1) for line in file.read_text().splitlines()[1:])
    shown = shown.replace(": []", ":").replace("sha256:…", "sha256:" + "0" * 64)
    configuration = read_document(shown, file.name, Configuration)
    assert (len(configuration.tokens), len(configuration.webhooks)) == (1, 1)
