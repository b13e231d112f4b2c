"""What docker-compose.yml promises: confined, bounded, on loopback, and in step with the settings it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from responder.cli_environment import PROVIDER_VARIABLES
from responder.settings import ENV_PREFIX, ResponderSettings
from telemetry.flush import FLUSH_BOUND_S
from tests.deploy.documents import (
    COMPOSE,
    DOCKERFILE,
    STUB_COMPOSE,
    environment,
    in_bytes,
    in_seconds,
    read_compose,
    services,
    stages,
    tmpfs_mounts,
    with_defaults,
)

SERVICES = sorted(services())
MB = 2**20


@pytest.mark.parametrize("path", [COMPOSE, STUB_COMPOSE], ids=lambda path: path.name)
def test_is_valid_compose(path: Path, tmp_path: Path) -> None:
    """Both files have the shape that the Compose Specification's schema asks for."""
    plain = tmp_path / path.name
    plain.write_text(path.read_text().replace("!override", ""))  # a merge tag is compose's own, not the schema's
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(plain)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    """No service can write to its root file system, has a capability, or can gain a privilege."""
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_bounded(name: str) -> None:
    """Every service has a bound on memory, on processes, on its log and on each temporary file system."""
    service = services()[name]
    assert in_bytes(with_defaults(service["mem_limit"])) > 0
    assert int(service["pids_limit"]) > 0
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert all(in_bytes(options["size"]) > 0 for options in tmpfs_mounts(service).values())


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """No service follows a moving tag."""
    _, _, tag = services()[name]["image"].partition(":")
    assert tag not in {"", "latest"}


def test_ports_are_on_loopback() -> None:
    """Only NATS and Jaeger are published, and only on this host's loopback."""
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == {"nats", "jaeger"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert "ports" not in services(STUB_COMPOSE)["responder"]


def test_responder_scales() -> None:
    """Nothing of the responder can exist only once: no name, no port, no volume."""
    responder = services()["responder"]
    assert not {"container_name", "hostname", "ports", "volumes", "network_mode"} & responder.keys()


def test_stop_grace_outlasts_the_drain() -> None:
    """The engine waits until the drain is over, the last spans are sent, and 5 s longer."""
    drain_s = ResponderSettings.model_fields["drain_grace_s"].default + FLUSH_BOUND_S
    assert in_seconds(services()["responder"]["stop_grace_period"]) >= drain_s + 5


def test_responder_is_not_process_1() -> None:
    """An init process passes signals on: process 1 ignores a SIGTERM it has no handler for yet."""
    assert services()["responder"]["init"] is True


def test_memory_holds_all_slots() -> None:
    """The responder's memory holds its default slots, 500 MB each, with both temporary file systems full."""
    responder = services()["responder"]
    slots = ResponderSettings.model_fields["slots"].default
    full = sum(in_bytes(options["size"]) for options in tmpfs_mounts(responder).values())
    assert in_bytes(with_defaults(responder["mem_limit"])) >= slots * 500 * MB + full + 310 * MB


def test_responder_can_write_where_it_must() -> None:
    """The image's home and temporary directory are writable for its user, and programs may run in the latter."""
    (user,) = stages()[-1].texts("USER")
    mounts = tmpfs_mounts(services()["responder"])
    home = mounts["/home/responder"]
    assert f"{home['uid']}:{home['gid']}" == user
    assert home["mode"] == "0700"
    assert mounts["/tmp"]["mode"] == "1777"
    assert "exec" in mounts["/tmp"]


@pytest.mark.parametrize("path", [COMPOSE, STUB_COMPOSE, DOCKERFILE], ids=lambda path: path.name)
def test_settings_exist(path: Path) -> None:
    """Every CLAUDE_RESPONDER_* variable that a file names is a setting."""
    named = {name.removeprefix(ENV_PREFIX).lower() for name in re.findall(rf"{ENV_PREFIX}\w+", path.read_text())}
    assert named <= ResponderSettings.model_fields.keys()


def test_responder_gets_the_credentials_of_the_host() -> None:
    """Each way to the provider that needs no file is passed on, without a value in the file."""
    passed_on = {name for name, value in environment(services()["responder"]).items() if value is None}
    provider = {name for name in passed_on if not name.startswith(ENV_PREFIX)}
    assert provider <= set(PROVIDER_VARIABLES)
    assert {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"} <= provider


def test_worker_gets_no_credential() -> None:
    """The worker has NATS's address and where traces go, and nothing to reach the provider with."""
    assert environment(services()["worker"]).keys() == {"NATS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"}


def test_stub_gets_no_credential() -> None:
    """With the stub the environment is replaced, so that the host's credentials stay out; the API is loopback."""
    assert "environment: !override" in STUB_COMPOSE.read_text()
    variables = environment(services(STUB_COMPOSE)["responder"])
    assert None not in variables.values()
    assert variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8080"
    assert variables["ANTHROPIC_API_KEY"] == "dummy"


@pytest.mark.parametrize("name", ["responder", "worker"])
def test_nothing_is_exported_by_default(name: str) -> None:
    """The OTLP endpoint is empty unless the operator sets it, which exports nothing."""
    assert with_defaults(environment(services()[name])["OTEL_EXPORTER_OTLP_ENDPOINT"] or "") == ""


def test_worker_reaches_nothing_but_nats() -> None:
    """The worker's one network leads nowhere else, and no responder is on it."""
    networks = read_compose(COMPOSE)["networks"]
    assert services()["worker"]["networks"] == ["workers"]
    assert networks["workers"] == {"internal": True}
    assert "workers" not in services()["responder"]["networks"]


def test_responder_waits_for_a_healthy_nats() -> None:
    """NATS has a health check and the responder is started after it has passed."""
    assert services()["nats"]["healthcheck"]["test"][0] == "CMD"
    assert services()["responder"]["depends_on"] == {"nats": {"condition": "service_healthy"}}


def test_worker_starts_no_responder() -> None:
    """The worker depends on NATS only: `compose run` would reset the number of responders it depends on."""
    assert services()["worker"]["depends_on"].keys() == {"nats"}


def test_extras_are_asked_for() -> None:
    """Plain `up` starts NATS and responders; the rest is in profiles."""
    assert {name for name, service in services().items() if "profiles" not in service} == {"nats", "responder"}
