"""What the CLI says about itself."""

import os
from pathlib import Path

import pytest

from responder.cli_environment import CLIEnvironment
from responder.cli_probe import CLIProbe
from responder.run import Runner
from tests.responder.shell import ENV, shell

pytestmark = pytest.mark.usefixtures("patience")


def probe_of(runner: Runner, folder: Path, body: str) -> CLIProbe:
    return CLIProbe(Path(shell(folder, body, "claude")), runner, CLIEnvironment(ENV))


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ("echo '2.1.197 (Claude Code)'", "2.1.197"),
        ('[ "$*" = --version ] && echo 1.0', "1.0"),
        ("echo 2.0; exit 1", None),
        ("exit 0", None),
        ("kill -9 $$", None),
        ("printf '\\377 x'", "\ufffd"),
    ],
)
async def test_the_version(runner: Runner, tmp_path: Path, body: str, version: str | None) -> None:
    """The version is the first word of a CLI that ends well, and none otherwise."""
    assert await probe_of(runner, tmp_path, body).version() == version


async def test_no_cli_has_no_version(runner: Runner, tmp_path: Path) -> None:
    """A CLI that is not there has no version and no login."""
    for cli in (None, tmp_path / "missing"):
        probe = CLIProbe(cli, runner, CLIEnvironment(ENV))
        assert await probe.version() is None
        assert await probe.is_logged_in() is False


async def test_the_version_is_asked_once(runner: Runner, tmp_path: Path) -> None:
    """A version is remembered until the file changes, and one that could not be had is asked for again."""
    probe = probe_of(runner, tmp_path, "echo x >>asked; cat version")
    body = f"echo x >>{tmp_path / 'asked'}; cat {tmp_path / 'version'}"
    probe_of(runner, tmp_path, body)
    assert await probe.version() is None
    (tmp_path / "version").write_text("1.0\n")
    for _ in range(3):
        assert await probe.version() == "1.0"
    assert (tmp_path / "asked").read_text() == "x\nx\n"
    (tmp_path / "version").write_text("2.0\n")
    assert await probe.version() == "1.0"
    os.utime(tmp_path / "claude", ns=(1, 1))
    assert await probe.version() == "2.0"
    (tmp_path / "claude").unlink()
    assert await probe.version() is None


@pytest.mark.parametrize(
    ("body", "is_logged_in"),
    [
        ('[ "$*" = "auth status" ] && echo \'{"loggedIn": true}\'', True),
        ("echo '{\"loggedIn\": false}'", False),
        ("echo '{\"loggedIn\": true}'; exit 1", False),
        ("echo '{\"loggedIn\": 1}'", False),
        ("echo '[true]'", False),
        ("echo yes", False),
        ("exit 0", False),
        ("printf '\\377'", False),
    ],
)
async def test_the_login(runner: Runner, tmp_path: Path, body: str, is_logged_in: bool) -> None:
    """Only a plain yes of a CLI that ends well is a login."""
    assert await probe_of(runner, tmp_path, body).is_logged_in() is is_logged_in
