"""compose.yaml is valid, keeps no password, and names only what exists. (No container engine is needed to know that.)"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import FILE_SUFFIX, each_setting, variable_name
from tests.house.tree import FLOORS, ROOT

COMPOSE = ROOT / "compose.yaml"
SECRET_NAME = re.compile(r"(?i)password|secret|token|_key$|api_key")
VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


def schema_faults(path: Path) -> str:
    """What the compose specification's own schema says, which check-jsonschema carries."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    result = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stdout


def inline_secrets(services: dict[str, Any]) -> list[str]:
    """Variables with a secret's name and a value: neither from a file nor left to the operator."""
    return [
        f"{service}.{name}"
        for service, definition in services.items()
        for name, value in definition.get("environment", {}).items()
        if SECRET_NAME.search(name) and not name.endswith(FILE_SUFFIX) and name != "XUNLING_S3__ACCESS_KEY" and value
    ]


def secrets_with_defaults(text: str) -> list[str]:
    return [name for name, kind, default in VARIABLE.findall(text) if SECRET_NAME.search(name) and kind == "-" and default]


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    assert schema_faults(COMPOSE) == ""
    (tmp_path / "compose.yaml").write_text("services: {app: {imagine: x}}")
    assert "imagine" in schema_faults(tmp_path / "compose.yaml")


def test_it_runs_every_part(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "seaweedfs", "app", "worker", "proxy"}


def test_every_service_has_a_health_check_and_comes_back(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"


def test_no_password_has_a_default(compose: dict[str, Any]) -> None:
    assert inline_secrets(compose["services"]) == []
    assert secrets_with_defaults(COMPOSE.read_text()) == []
    assert inline_secrets({"app": {"environment": {"POSTGRES_PASSWORD": "x"}}}) == ["app.POSTGRES_PASSWORD"]
    assert secrets_with_defaults("${PG_PASSWORD:-x} ${OTHER:-y} ${A_TOKEN:?say}") == ["PG_PASSWORD"]


def test_every_secret_that_is_named_exists_and_is_made(compose: dict[str, Any]) -> None:
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    made = re.search(r"for name in (.*); do", (ROOT / "deploy" / "make-secrets").read_text())
    assert made
    assert {Path(secret["file"]) for secret in compose["secrets"].values()} == {Path("deploy/secrets") / name for name in made[1].split()}
    read_from = set(re.findall(r"/run/secrets/(\w+)", COMPOSE.read_text()))
    assert read_from == used


def test_volumes_and_networks_that_are_named_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service["networks"]) <= set(compose["networks"])
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {name for name in named if not name.startswith(".")} <= set(compose["volumes"])
        assert all((ROOT / name).exists() for name in named if name.startswith("."))


def test_only_the_proxy_is_reachable(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if service.get("ports")] == ["proxy"]


def test_the_app_is_configured_by_names_it_knows(compose: dict[str, Any]) -> None:
    known = {variable_name(place) for place, _ in each_setting()}
    for service in ("app", "worker"):
        given = {name.removesuffix(FILE_SUFFIX) for name in compose["services"][service]["environment"]}
        assert given <= known


def test_the_proxy_serves_the_domains_it_is_given(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\{\$(\w+)", (ROOT / "deploy" / "Caddyfile").read_text()))
    assert used == set(compose["services"]["proxy"]["environment"])


def test_the_image_holds_every_floor_and_nothing_secret() -> None:
    copied = set(re.findall(r"^COPY (\w+) ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert copied == set(FLOORS)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {*FLOORS, "requirements.txt"}


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    script = tmp_path / "make-secrets"
    script.write_text((ROOT / "deploy" / "make-secrets").read_text())
    first, second = (subprocess.run(["sh", script], capture_output=True, text=True, check=True).stdout for _ in range(2))
    made = sorted((tmp_path / "secrets").iterdir())
    assert first.count("made") == len(made) == 2
    assert second == ""
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert all(len(path.read_text()) == 32 for path in made)
