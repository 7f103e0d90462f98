"""compose.yaml is valid, keeps no password, and names only what exists. (No container engine is needed to know that.)"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from server.__main__ import cli
from server.deployment import SECRETS
from server.settings import FILE_SUFFIX, each_setting, variable_name
from tests.house.tree import FLOORS, ROOT

COMPOSE = ROOT / "compose.yaml"
SECRET_NAME = re.compile(r"(?i)password|secret|token|_key$|api_key")
MADE_HERE = {"./deploy/secrets", "./deploy/certificates"}  # belong to a deployment
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
    assert running(compose) == {"postgres", "seaweedfs", "s3", "app", "worker", "proxy"}


def running(compose: dict[str, Any]) -> set[str]:
    """The services that stay up; the others end after their work."""
    return {name for name, service in compose["services"].items() if service["restart"] != "no"}


def test_every_service_has_a_health_check_and_comes_back(compose: dict[str, Any]) -> None:
    for name in running(compose):
        assert compose["services"][name]["healthcheck"]["test"]
        assert compose["services"][name]["restart"] == "unless-stopped"


def test_images_are_named_by_exact_tag(compose: dict[str, Any]) -> None:
    """Three numbers, or the two that PostgreSQL and SeaweedFS count by; deploy/pin-images adds the digests."""
    named = [service["image"] for service in compose["services"].values()]
    named += re.findall(r"PYTHON_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text())
    for image in named:
        assert re.search(r":(\$\{\w+:-)?\d+\.\d+(\.\d+)?(-[\w-]+)?\}?$", image), image


def test_what_asks_for_no_password_shares_a_network_with_its_gateway_alone(compose: dict[str, Any]) -> None:
    """SeaweedFS' master, volume and filer; and PostgreSQL is out of reach of the proxy."""
    reached = {name: set(service["networks"]) for name, service in compose["services"].items()}
    assert {name for name, networks in reached.items() if networks & reached["seaweedfs"]} == {"seaweedfs", "s3"}
    assert not reached["proxy"] & reached["postgres"]


def test_only_what_migrates_and_backs_up_is_the_owner_of_the_database(compose: dict[str, Any]) -> None:
    """Server and worker have another role and are not told the owner's password (decision 0031)."""
    services = compose["services"]
    owners = {name for name, service in services.items() if "pg_owner_password" in service.get("secrets", [])}
    assert owners == {"postgres", "migrate", "backup"}
    for name in ("app", "worker"):
        assert not any("OWNER" in variable for variable in services[name]["environment"])
        assert services[name]["environment"]["XUNLING_PG__DSN"] != services["migrate"]["environment"]["XUNLING_PG__OWNER_DSN"]


def test_no_password_has_a_default(compose: dict[str, Any]) -> None:
    assert inline_secrets(compose["services"]) == []
    assert secrets_with_defaults(COMPOSE.read_text()) == []
    assert inline_secrets({"app": {"environment": {"POSTGRES_PASSWORD": "x"}}}) == ["app.POSTGRES_PASSWORD"]
    assert secrets_with_defaults("${PG_PASSWORD:-x} ${OTHER:-y} ${A_TOKEN:?say}") == ["PG_PASSWORD"]


def test_every_secret_that_is_named_exists_and_is_made(compose: dict[str, Any]) -> None:
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    assert {Path(secret["file"]) for secret in compose["secrets"].values()} == {Path("deploy/secrets") / name for name in SECRETS}
    read_from = set(re.findall(r"/run/secrets/(\w+)", COMPOSE.read_text()))
    assert read_from == used


def test_volumes_and_networks_that_are_named_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service["networks"]) <= set(compose["networks"])
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {name for name in named if not name.startswith((".", "$"))} <= set(compose["volumes"])
        assert all((ROOT / name).exists() for name in named if name.startswith(".") and name not in MADE_HERE)


def test_only_the_proxy_is_reachable(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if service.get("ports")] == ["proxy"]


def test_the_app_is_configured_by_names_it_knows(compose: dict[str, Any]) -> None:
    known = {variable_name(place) for place, _ in each_setting()}
    for service in ("app", "worker", "migrate", "backup"):
        given = {name.removesuffix(FILE_SUFFIX) for name in compose["services"][service]["environment"]}
        assert given - {"TMPDIR"} <= known
    lines = (ROOT / "deploy" / "machine.env").read_text().splitlines()
    assert {line.split("=")[0].removesuffix(FILE_SUFFIX) for line in lines if line and not line.startswith("#")} - {"TMPDIR"} <= known


def test_the_proxy_serves_the_domains_it_is_given(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\{\$(\w+)\}", (ROOT / "deploy" / "Caddyfile").read_text()))
    assert used == set(compose["services"]["proxy"]["environment"])


def test_the_image_holds_every_floor_and_nothing_secret() -> None:
    copied = set(re.findall(r"^COPY (\w+) ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert copied == set(FLOORS)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {*FLOORS, "requirements.txt"}


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first, second = (CliRunner().invoke(cli, ["secrets", str(folder)]).output for _ in range(2))
    made = sorted(folder.iterdir())
    assert len(first.splitlines()) == len(made) == len(SECRETS)
    assert second == "nothing to do\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(len(path.read_text()) == 32 for path in made)


# ------------------------------------------------------------------------------------- a machine without containers

UNITS = sorted((ROOT / "deploy" / "systemd").glob("xunling-*"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, as if this checkout were installed in /opt/xunling."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/xunling/.venv/bin", str(Path(sys.executable).parent)))
    return tmp_path


def faults_of_units(folder: Path) -> str:
    """What systemd itself says of them. Only our units count: those of the machine may have faults of their own."""
    command = ["systemd-analyze", "verify", *map(str, folder.glob("xunling-*[!@].service")), *map(str, folder.glob("*.timer"))]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return "\n".join(line for line in said.stderr.splitlines() if "xunling" in line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian's package systemd)")
def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    assert faults_of_units(installed) == ""
    unit = installed / "xunling-server.service"
    unit.write_text(unit.read_text().replace("TimeoutStopSec=30", "TimeoutStopSec=soon"))
    assert "soon" in faults_of_units(installed)


def test_units_run_commands_that_exist_as_their_own_user() -> None:
    for unit in UNITS:
        if unit.suffix == ".timer":
            continue
        assert re.search("^User=xunling$", unit.read_text(), flags=re.MULTILINE), unit.name
        for words in re.findall(r"-m server (.*)$", unit.read_text(), flags=re.MULTILINE):
            assert CliRunner().invoke(cli, [*words.split(), "--help"]).exit_code == 0, words


def test_only_migrations_and_backups_can_read_the_owners_password() -> None:
    """They run as the same user: what a unit does not need is out of its sight."""
    hidden = "InaccessiblePaths=-/etc/xunling/secrets/pg_owner_password"
    for unit in UNITS:
        runs_ours = unit.suffix == ".service" and "/opt/xunling" in unit.read_text()
        needs_owner = unit.stem in ("xunling-migrate", "xunling-backup")
        assert (hidden in unit.read_text().splitlines()) == (runs_ours and not needs_owner), unit.name


def test_the_installer_is_a_shell_script_and_makes_every_secret_that_units_read() -> None:
    script = ROOT / "deploy" / "install.sh"
    subprocess.run(["sh", "-n", script], check=True)
    read = set(re.findall(r"/etc/xunling/secrets/(\w+)", "".join(unit.read_text() for unit in UNITS)))
    read |= set(re.findall(r"/etc/xunling/secrets/(\w+)", (ROOT / "deploy" / "machine.env").read_text()))
    assert read == set(SECRETS)
