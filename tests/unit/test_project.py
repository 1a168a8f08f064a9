"""The files around the code fit together: dependencies, lock, rooms, image and compose file."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
COMPOSE = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())


def ignored(folder: str) -> list[str]:
    """Return the lines of an ignore file."""
    return (ROOT / folder).read_text().splitlines()


def test_the_lock_satisfies_every_dependency():
    """A dependency that was added or raised without ``make lock`` fails here, not on a fresh machine."""
    locked = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", LOCK, re.MULTILINE)
    }
    declared = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    declared += PROJECT["project"]["optional-dependencies"]["embedded"]
    wanted = [Requirement(text) for text in declared]

    assert [
        str(need) for need in wanted if locked.get(canonicalize_name(need.name)) not in need.specifier
    ] == []


def test_the_lock_holds_hashes_and_no_host():
    """Whoever installs decides from where; the hashes decide what."""
    entries = [entry for entry in re.split(r"\n(?=\S)", LOCK.strip()) if not entry.startswith("#")]

    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"://|--index-url|--find-links|@ ", LOCK) == []


def test_the_lock_of_uv_is_never_committed():
    """uv.lock names the hosts of a package index."""
    assert "/uv.lock" in ignored(".gitignore")


def test_every_room_of_a_contract_exists():
    """A contract about a room that is gone, or was renamed, checks nothing."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    sources = {room for contract in contracts for room in contract.get("source_modules", [])}
    layers = re.findall(r"(\()?\b(\w+)\)?", " ".join(contracts[0]["layers"]))
    sources |= {f"softbounce.{name}" for optional, name in layers if not optional}
    paths = {room: ROOT / "src" / room.replace(".", "/") for room in sources}

    assert [
        room for room, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").is_file())
    ] == []


def test_every_room_with_code_is_in_the_contracts_about_servers():
    """A new room joins the contracts about Redis and Celery, or is the one that knows them."""
    rooms = {
        path.stem
        for path in (ROOT / "src/softbounce").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    rooms -= {"__init__", "__main__", "errors"}
    kept_out = {
        contract["name"]: {source.removeprefix("softbounce.") for source in contract["source_modules"]}
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("Only")
    }

    assert rooms - kept_out["Only the store knows Redis"] == {"store"}
    assert rooms - kept_out["Only the worker knows Celery"] == {"worker"}


def test_the_compose_file_fits_the_compose_specification():
    """Unknown keys are refused, offline."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    result = subprocess.run(  # noqa: S603 - a tool of the dev group on a file of ours
        [tool, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("kind", ["networks", "volumes", "depends_on"])
def test_every_reference_of_the_compose_file_exists(kind):
    """No tool sees a missing service in ``depends_on``, nor a missing volume or network."""
    services = COMPOSE["services"]
    used = {str(name).partition(":")[0] for service in services.values() for name in service.get(kind, [])}
    files = {name for name in used if name.startswith(".")}
    defined = services if kind == "depends_on" else COMPOSE[kind]

    assert used - files - set(defined) == set()
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_service_says_whether_it_is_healthy():
    """``depends_on`` waits for a health check, so each service has one."""
    assert [name for name, service in COMPOSE["services"].items() if "healthcheck" not in service] == []


def test_the_store_of_the_compose_file_may_not_forget():
    """No eviction or no start; an append-only file, in a volume."""
    command = " ".join(COMPOSE["services"]["redis"]["command"])

    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command
    assert COMPOSE["services"]["redis"]["volumes"] == ["redis-data:/data"]


def test_workers_can_be_scaled():
    """A fixed container name or a published port would allow one worker only."""
    assert {"container_name", "ports"} & COMPOSE["services"]["worker"].keys() == set()


def test_the_image_copies_what_exists_and_runs_without_root():
    """Each ``COPY`` finds its source, also behind the ignore file; the last user is not root."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    sources = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    }

    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert [name for name in sources if f"!{name}" not in ignored(".dockerignore")] == []
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)[-1] == "softbounce"


def test_the_wheel_holds_scripts_types_and_policy():
    """What the worker reads at run time is named for the wheel, not only for a checkout."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["packages"] == ["src/softbounce"]
    assert list((ROOT / "src/softbounce/store/lua").glob("*.lua"))
    assert (ROOT / "src/softbounce/py.typed").exists()
    assert [name for name in wheel["force-include"] if not (ROOT / name).is_file()] == []
