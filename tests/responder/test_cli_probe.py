"""What the CLI says about itself."""

import asyncio
import os
from pathlib import Path

import pytest

from responder.cli_environment import CLIEnvironment
from responder.cli_probe import CLIProbe
from responder.run import Runner
from tests.responder.shell import ENV, children, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")


ASKERS = 50


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Give the time in seconds."""
        return self.now_s


def probe_of(runner: Runner, folder: Path, body: str, clock: Clock | None = None) -> CLIProbe:
    return CLIProbe(Path(shell(folder, body, "claude")), runner, CLIEnvironment(ENV), clock or Clock())


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
    """A version is remembered until the file changes, a failure for five seconds."""
    clock = Clock()
    body = f"echo x >>{tmp_path / 'asked'}; cat {tmp_path / 'version'}"
    probe = probe_of(runner, tmp_path, body, clock)
    assert await probe.version() is None
    (tmp_path / "version").write_text("1.0\n")
    clock.now_s += 4.9
    assert await probe.version() is None
    assert (tmp_path / "asked").read_text() == "x\n"
    clock.now_s += 0.1
    for _ in range(3):
        assert await probe.version() == "1.0"
    assert (tmp_path / "asked").read_text() == "x\nx\n"
    (tmp_path / "version").write_text("2.0\n")
    assert await probe.version() == "1.0"
    os.utime(tmp_path / "claude", ns=(1, 1))
    assert await probe.version() == "2.0"
    (tmp_path / "claude").unlink()
    assert await probe.version() is None


async def test_a_failure_is_forgotten_with_its_file(runner: Runner, tmp_path: Path) -> None:
    """A CLI that is replaced is asked at once."""
    probe = probe_of(runner, tmp_path, "exit 1")
    assert await probe.version() is None
    shell(tmp_path, "echo 3.0", "claude")
    assert await probe.version() == "3.0"


@pytest.mark.parametrize(("end", "version"), [("echo 1.0", "1.0"), ("exit 1", None)])
async def test_many_askers_share_one_process(runner: Runner, tmp_path: Path, end: str, version: str | None) -> None:
    """Whoever asks while the CLI is being asked gets the same answer, also when it fails."""
    probe = probe_of(runner, tmp_path, f"echo x >>{tmp_path / 'asked'}; await {tmp_path / 'go'}; {end}")
    askers = [asyncio.create_task(probe.version()) for _ in range(ASKERS)]
    await wait_until((tmp_path / "asked").exists, "the CLI is asked")
    (tmp_path / "go").write_text("go")
    assert await asyncio.gather(*askers) == [version] * ASKERS
    assert (tmp_path / "asked").read_text() == "x\n"


async def test_an_asker_that_gives_up_takes_no_answer_from_others(runner: Runner, tmp_path: Path) -> None:
    """When the first asker is cancelled its process ends, and the others still get an answer, from one process."""
    before = children()
    asked, go = tmp_path / "asked", tmp_path / "go"
    probe = probe_of(runner, tmp_path, f"echo x >>{asked}; await {go}; echo 1.0")
    first = asyncio.create_task(probe.version())
    await wait_until(asked.exists, "the CLI is asked")
    others = [asyncio.create_task(probe.version()) for _ in range(ASKERS)]
    first.cancel()
    await wait_until(lambda: asked.read_text() == "x\nx\n", "another asks")
    go.write_text("go")
    assert await asyncio.gather(*others) == ["1.0"] * ASKERS
    assert first.cancelled()
    assert asked.read_text() == "x\nx\n"
    assert children() == before


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


async def test_a_cli_that_stays_the_same_is_not_asked(runner: Runner, tmp_path: Path) -> None:
    """The file that was there first is trusted; another in its place has to answer, once, and so has one in doubt."""
    asked, cli = tmp_path / "asked", tmp_path / "claude"
    body = f"echo x >>{asked}; "
    probe = probe_of(runner, tmp_path, f"{body}echo 1.0")
    for _ in range(3):
        assert await probe.is_usable(afresh=False)
    assert not asked.exists()
    cli.chmod(0o644)
    assert not await probe.is_usable(afresh=False)
    cli.chmod(0o755)
    assert await probe.is_usable(afresh=False)
    assert not asked.exists()
    cli.rename(tmp_path / "old")
    assert not await probe.is_usable(afresh=False)
    shell(tmp_path, f"{body}exit 1", "claude")
    assert not await probe.is_usable(afresh=False)
    shell(tmp_path, f"{body}echo 3.0", "claude")
    for _ in range(3):
        assert await probe.is_usable(afresh=False)
    assert asked.read_text() == "x\nx\n"
    assert await probe.is_usable(afresh=True)
    assert asked.read_text() == "x\nx\nx\n"


async def test_a_cli_in_doubt_is_asked_until_it_answers(runner: Runner, tmp_path: Path) -> None:
    """Asked afresh a CLI that fails is not asked more often than every five seconds."""
    clock = Clock()
    probe = probe_of(runner, tmp_path, f"echo x >>{tmp_path / 'asked'}; cat {tmp_path / 'version'}", clock)
    for _ in range(3):
        assert not await probe.is_usable(afresh=True)
    assert (tmp_path / "asked").read_text() == "x\n"
    (tmp_path / "version").write_text("1.0\n")
    clock.now_s += 5
    assert await probe.is_usable(afresh=True)


async def test_no_cli_is_not_usable(runner: Runner) -> None:
    """Without a CLI there is none to be used."""
    assert not await CLIProbe(None, runner, CLIEnvironment(ENV)).is_usable(afresh=False)
