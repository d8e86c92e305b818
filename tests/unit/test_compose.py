"""docker-compose.yml, Dockerfile and deploy/: well-formed by the official schema, and by our own rules."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.fernet import Fernet

from comptoir.airflow.runtime import AirflowRuntime
from comptoir.store.vault import Vault

from tests.support import compose

ROOT = compose.ROOT
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
ONE_SHOTS = {"migrate", "airflow-init"}
OURS = {*ONE_SHOTS, "api-server", "scheduler", "dag-processor", "triggerer", "gateway"}
SECRETS = {name: f"{name.lower()}-0123456789" for name, (kind, _) in compose.variables(compose.FILE.read_text()).items()
           if kind == ":?"}  # fmt: skip


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services under nothing but the secrets that have to be set."""
    found: dict[str, dict[str, Any]] = compose.load(SECRETS)["services"]
    return found


def schema_errors(document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


# -- the official schema


def test_the_schema_is_the_one_that_its_page_names() -> None:
    text = (SCHEMA.parent / "README.md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(SCHEMA.read_bytes()).hexdigest()}`" in text
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "compose_spec.json"


def test_the_file_keeps_the_official_schema() -> None:
    assert schema_errors(compose.load(SECRETS)) == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("gateway", "restrat", "always"),
        ("gateway", "depends_on", {"postgres": {"condition": "healthy"}}),
        ("postgres", "healthcheck", {"tests": ["CMD", "true"]}),
        ("scheduler", "ports", [{"tagret": 8080}]),
    ],
)
def test_the_schema_finds_planted_faults(service: str, key: str, value: object) -> None:
    document = compose.load(SECRETS)
    document["services"][service][key] = value
    assert schema_errors(document)


# -- secrets


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_nothing_starts_without_a_secret(missing: str) -> None:
    with pytest.raises(compose.Unset, match=rf"{missing}: .*(new-env|\.env)"):
        compose.load({name: value for name, value in SECRETS.items() if name != missing})


def test_no_secret_has_a_default() -> None:
    text = compose.FILE.read_text(encoding="utf-8")
    kinds = compose.variables(text)
    secret = re.compile(r"PASSWORD|SECRET|_KEY$|TOKEN")
    named = {name for name in kinds if secret.search(name)}
    assert named == set(SECRETS), "a variable that must be set is a secret, and the other way round"
    # None stands in the file itself: a setting named like one takes its value from a variable, or names a file.
    for name, service in compose.raw()["services"].items():
        for key, value in service.get("environment", {}).items():
            if secret.search(key) and not key.endswith("_FILE"):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", str(value)), f"{name}: {key}"
        for address in re.findall(r"://[^@\s]+@", json.dumps(service)):
            assert re.fullmatch(r"://[a-z_]+:\$\{[A-Z_]+:\?[^}]+\}@", address), f"{name}: {address}"


def test_each_service_knows_only_the_secrets_that_it_needs(services: dict[str, dict[str, Any]]) -> None:
    def knows(name: str) -> set[str]:
        values = " ".join(str(v) for v in services[name].get("environment", {}).values())
        found = {secret for secret, value in SECRETS.items() if value in values}
        return found | ({"connections"} if services[name].get("env_file") else set())

    airflow = {"AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY"}
    hub = {"COMPTOIR_DB_PASSWORD"}
    assert {name: knows(name) for name in services} == {
        "postgres": {"POSTGRES_PASSWORD", "COMPTOIR_DB_PASSWORD", "AIRFLOW_DB_PASSWORD"},
        "migrate": hub,
        "airflow-init": airflow | {"AIRFLOW_ADMIN_PASSWORD"},
        "api-server": airflow,
        "dag-processor": airflow,
        "triggerer": airflow | hub,
        "scheduler": airflow | hub | {"COMPTOIR_RAW_KEY", "connections"},
        "gateway": hub | {"connections"},
    }


def test_env_files_are_ignored_by_git_and_docker() -> None:
    for name in (".env", ".env.connections"):
        asked = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False)
        assert asked.returncode == 0, name
    assert subprocess.run(["git", "check-ignore", "--quiet", ".env.example"], cwd=ROOT, check=False).returncode == 1
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is left out unless it is let in"


# -- the example


def test_every_variable_is_documented_with_its_default() -> None:
    example = compose.EXAMPLE.read_text(encoding="utf-8")
    written = dict(re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    used = compose.variables(compose.FILE.read_text(encoding="utf-8"))
    assert set(written) == set(used)
    for name, (kind, word) in used.items():
        assert written[name] == ("" if kind == ":?" else word), name
        # What has to be set stands open, what may be set is commented out.
        assert bool(re.search(rf"^{name}=", example, re.MULTILINE)) == (kind == ":?"), name


def test_the_example_holds_no_secret() -> None:
    assert set(compose.env_values(compose.EXAMPLE.read_text(encoding="utf-8")).values()) == {""}


def test_new_env_makes_working_secrets_and_overwrites_nothing(tmp_path: Path) -> None:
    command = ["sh", str(ROOT / "deploy" / "new-env.sh"), str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    path, connections = tmp_path / ".env", tmp_path / ".env.connections"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".env", ".env.connections"]
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, connections)] == [0o600, 0o600]
    values = compose.env_values(path.read_text(encoding="utf-8"))
    assert set(values) == set(SECRETS)
    assert len(set(values.values())) == len(values), "each secret is another one"
    assert not [value for value in values.values() if value in said], "no secret is shown"
    assert compose.load(values)["services"]
    for name in ("POSTGRES_PASSWORD", "COMPTOIR_DB_PASSWORD", "AIRFLOW_DB_PASSWORD", "AIRFLOW_ADMIN_PASSWORD"):
        assert re.fullmatch(r"[0-9a-f]{48}", values[name]), name
    fernet = Fernet(values["AIRFLOW_FERNET_KEY"])
    assert fernet.decrypt(fernet.encrypt(b"x")) == b"x"
    Vault.open(tmp_path / "unused", values["COMPTOIR_RAW_KEY"], os.urandom)
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    assert compose.env_values(connections.read_text(encoding="utf-8")) == {}

    before = path.read_bytes()
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "was left as it is" in again.stderr
    assert path.read_bytes() == before


def test_the_template_of_connections_is_read_by_the_hub(tmp_path: Path) -> None:
    from comptoir.app.credentials import EnvSecrets

    subprocess.run(["sh", str(ROOT / "deploy" / "new-env.sh"), str(tmp_path)], check=True, capture_output=True)
    text = (tmp_path / ".env.connections").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("# AIRFLOW_CONN_"))
    found = EnvSecrets(compose.env_values(line.removeprefix("# "))).get("boutique")
    assert found is not None
    assert (found.host, found.login, found.password) == ("https://shop.example", "ck_...", "cs_...")
    assert found.extra == {"webhook_secret": "..."}


# -- hardening


def test_the_services_are_the_ones_that_the_rules_know(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"postgres", *OURS}


def test_every_service_has_a_healthcheck_or_ends_by_itself(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        if name in ONE_SHOTS:
            # The image's own check asks the gateway: it would call what is busy sick.
            assert (check, service["restart"]) == ({"disable": True}, "no"), name
            continue
        assert check["test"][0] == "CMD", f"{name}: no shell"
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name
        assert service["restart"] == "unless-stopped", name


def test_no_service_has_more_rights_than_it_needs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        uid, gid = service["user"].split(":")
        assert int(uid) > 0, name
        assert int(gid) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for forbidden in ("privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"):
            assert forbidden not in service, name
        assert "docker.sock" not in json.dumps(service), name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert service["logging"]["options"]["max-size"], name


def test_only_gateway_and_web_pages_are_published_and_only_on_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"api-server", "gateway"}
    for name, ports in published.items():
        for port in ports:
            address, outside, inside = port.split(":")
            assert ipaddress.ip_address(address).is_loopback, name
            assert outside == inside, name
    networks = compose.load(SECRETS)["networks"]
    assert networks["data"] == {"internal": True}
    assert {name for name, service in services.items() if "outside" in service["networks"]} == {
        "api-server",
        "gateway",
        "scheduler",
    }
    assert all("data" in service["networks"] for service in services.values())


def test_only_the_scheduler_writes_outside_of_volumes(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for mount in service.get("volumes", []):
            if isinstance(mount, str):
                assert mount.split(":")[0] in compose.raw()["volumes"], f"{name}: {mount}"
                continue
            assert mount["bind"] == {"create_host_path": False}, f"{name}: a wrong path must be an error"
            writes = not mount.get("read_only", False)
            assert writes == (mount["target"] == "/srv/comptoir/exchange"), f"{name}: {mount}"
    exchange = [n for n, s in services.items() if "/srv/comptoir/exchange" in json.dumps(s)]
    assert exchange == ["scheduler"]


def test_everything_waits_for_what_it_needs(services: dict[str, dict[str, Any]]) -> None:
    for name in OURS:
        needs = services[name]["depends_on"]
        assert needs["postgres"] == {"condition": "service_healthy"}, name
        for other, how in needs.items():
            ends = other in ONE_SHOTS
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), name
        if name not in ONE_SHOTS:
            text = json.dumps(services[name]["environment"])
            assert ("migrate" in needs) == ("COMPTOIR_DATABASE_URL" in text), name
            assert ("airflow-init" in needs) == ("AIRFLOW_HOME" in text), name


def test_airflow_is_set_up_as_where_it_is_tested(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """A setting that our own runtime gained must be thought of here too."""
    runtime = AirflowRuntime(tmp_path, tmp_path / "comptoir.toml", "postgresql+psycopg2:///x", 8080)
    runtime.folder.mkdir(parents=True)
    told = {name: value for name, value in runtime.environment().items() if name.startswith("AIRFLOW__")}
    environment = services["scheduler"]["environment"]
    assert set(told) <= set(environment)
    other = {name for name, value in told.items() if environment[name] != value}
    assert other == {
        # Other places,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__PLUGINS_FOLDER",
        "AIRFLOW__API__HOST",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",
        # other secrets,
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        # and, on a machine that is there for it, more at the same time, begun by an operator.
        "AIRFLOW__CORE__PARALLELISM",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION",
    }
    (bundle,) = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    (tested,) = json.loads(told["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    tested["kwargs"]["path"] = "/opt/comptoir/dags"
    assert bundle == tested
    airflow = {k: v for k, v in environment.items() if k.startswith("AIRFLOW__")}
    for name in ("api-server", "dag-processor", "triggerer", "airflow-init"):
        same = {k: v for k, v in services[name]["environment"].items() if k.startswith("AIRFLOW__")}
        assert same == airflow, f"{name}: Airflow's programs must agree"


# -- the image


def dockerfile() -> list[tuple[str, str]]:
    """Instructions with their arguments, lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    joined = text.replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for instruction in dockerfile():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def test_the_image_runs_as_the_account_of_the_services(services: dict[str, dict[str, Any]]) -> None:
    last = stages()[-1]
    users = [value for name, value in last if name == "USER"]
    assert users == ["10001:10001"]
    assert {services[name]["user"] for name in OURS} == set(users)
    position = [name for name, _ in last].index("USER")
    assert "RUN" not in [name for name, _ in last[position:]]
    assert f"--uid {users[0].split(':')[0]} " in " ".join(value for name, value in last if name == "RUN")


def test_the_image_is_built_from_the_lock_and_checks_hashes() -> None:
    build, last = stages()
    assert {value.split()[0] for name, value in (build[0], last[0])} == {"python:3.11-slim"}
    installs = [part for name, value in build if name == "RUN" for part in value.split("&&") if " pip " in part]
    from_the_net = [part for part in installs if "--no-index" not in part]
    assert len(from_the_net) == 2
    for part in from_the_net:
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(part.split())
    assert not [value for name, value in last if name == "RUN" and " install " in value and "pip install" in value]
    removed = next(value for name, value in last if "pip uninstall" in value)
    assert {"pip", "setuptools", "wheel"} <= set(removed.split())


def test_the_image_says_what_it_is() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    last = stages()[-1]
    assert ("ARG", f"VERSION={version}") in last
    labels = next(value for name, value in last if name == "LABEL")
    assert {"title", "description", "version", "licenses", "vendor"} == set(
        re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)
    )
    assert f"comptoir:${{COMPTOIR_VERSION:-{version}}}" in compose.FILE.read_text(encoding="utf-8")


def test_the_image_and_its_gateway_agree(services: dict[str, dict[str, Any]]) -> None:
    last = dict(stages()[-1])
    assert json.loads(last["CMD"]) == services["gateway"]["command"]
    check = re.search(r"CMD (\[.*\])", last["HEALTHCHECK"])
    assert check is not None
    assert ["CMD", *json.loads(check[1])] == services["gateway"]["healthcheck"]["test"]


def test_everything_that_is_copied_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for name, value in dockerfile()
        if name == "COPY" and "--from" not in value
        for source in value.split()[:-1]
    }
    assert copied == let_in
    assert not [source for source in copied if not (ROOT / source).exists()]
    for program in ("health.py", "airflow_init.py"):
        assert os.access(ROOT / "deploy" / program, os.X_OK), f"{program} is run as a command"
    programs = re.findall(r"/opt/comptoir/bin/(comptoir-[\w-]+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    used = {service[key][0] for service in compose.raw()["services"].values() for key in ("command",)} | {
        service["healthcheck"]["test"][1]
        for service in compose.raw()["services"].values()
        if "test" in service["healthcheck"]
    }
    assert {name for name in used if name.startswith("comptoir-")} == set(programs)
