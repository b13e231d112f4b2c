"""How a responder says it is."""

import asyncio
from pathlib import Path

import pytest

from contract import ErrorCode
from responder.cli_probe import CLIProbe
from responder.health import Health
from responder.run import Runner
from tests.responder.parts import make_service
from tests.responder.shell import children
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
VERSION = '[ "$1" = --version ] && { echo 2.1.197; exit; }; '


def health_of(runner: Runner, folder: Path, cli: str | None) -> Health:
    service = make_service(folder, runner, cli)
    execution = service.execution
    return Health(service, CLIProbe(execution.cli, runner, execution.environment), "1.2.3")


async def test_the_cheap_check(runner: Runner, tmp_path: Path) -> None:
    """A responder whose CLI answers for its version is healthy, and says what it has; no prompt is run."""
    health = health_of(runner, tmp_path, VERSION + f"touch {tmp_path / 'prompted'}; answer healthy")
    reply = await health.answer(b"")
    assert (reply.status, reply.reason, reply.deep) == ("healthy", None, None)
    assert (reply.responder, reply.version, reply.cli_version, reply.cli_available) == ("r1", "1.2.3", "2.1.197", True)
    assert (reply.slots, reply.in_flight, reply.backlog) == (2, 0, 0)
    assert reply.expired == 0
    assert reply.uptime_s >= 0
    assert not (tmp_path / "prompted").exists()


async def test_what_expired_is_told(runner: Runner, tmp_path: Path) -> None:
    """A responder says how many requests it has not started because their deadline had passed."""
    health = health_of(runner, tmp_path, VERSION)
    health.service.statistics.expired = 3
    assert (await health.answer(b"")).expired == 3


@pytest.mark.parametrize("cli", [None, "exit 1", "kill -9 $$"])
async def test_a_cli_that_does_not_run(runner: Runner, tmp_path: Path, cli: str | None) -> None:
    """Without a CLI that runs a responder is unhealthy, and a deep check is spared."""
    for body in (b"", b'{"deep": true}'):
        reply = await health_of(runner, tmp_path, cli).answer(body)
        assert (reply.status, reply.cli_available, reply.cli_version, reply.deep) == ("unhealthy", False, None, None)
        assert reply.reason == "the CLI is missing or does not run"


async def test_the_deep_check(runner: Runner, tmp_path: Path) -> None:
    """A deep check runs one real prompt through the same slots, and leaves nothing."""
    before = children()
    health = health_of(runner, tmp_path, VERSION + f"cat >{tmp_path / 'prompt'}; answer healthy")
    reply = await health.answer(b'{"deep": true}')
    assert (reply.status, reply.deep, reply.reason) == ("healthy", True, None)
    assert "healthy" in (tmp_path / "prompt").read_text()
    assert health.service.slots.in_flight == 0
    assert children() == before


async def test_a_deep_check_that_fails(runner: Runner, tmp_path: Path) -> None:
    """A prompt that fails makes the responder unhealthy, with the code and the line of the failure."""
    reply = await health_of(runner, tmp_path, VERSION + "exit 3").answer(b'{"deep": true}')
    assert (reply.status, reply.deep, reply.cli_available) == ("unhealthy", False, True)
    assert reply.reason == "cli_error: the CLI ended with status 3"


@pytest.mark.parametrize("gives_up", [False, True])
async def test_deep_checks_share_one_prompt(runner: Runner, tmp_path: Path, gives_up: bool) -> None:
    """Deep checks that come while one runs get its result, even if who asked first gives up; later ones run again."""
    prompted, go = tmp_path / "prompted", tmp_path / "go"
    script = f"echo x >>{prompted}; until [ -s {go} ]; do sleep 0.01; done; answer healthy"
    health = health_of(runner, tmp_path, VERSION + script)
    first = asyncio.create_task(health.answer(b'{"deep": true}'))
    await wait_until(prompted.exists, "the prompt runs")
    others = [asyncio.create_task(health.answer(b'{"deep": true}')) for _ in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    cheap = await health.answer(b"")
    assert (cheap.status, cheap.in_flight, cheap.backlog) == ("healthy", 1, 0)
    if gives_up:
        first.cancel()
    go.write_text("go")
    replies = await asyncio.gather(*others)
    assert [(reply.status, reply.deep) for reply in replies] == [("healthy", True)] * 5
    assert prompted.read_text() == "x\n"
    assert (await health.answer(b'{"deep": true}')).deep
    assert prompted.read_text() == "x\nx\n"
    assert (await asyncio.gather(first, return_exceptions=True))[0] is not None


@pytest.mark.parametrize("body", [b"x", b'{"deep": 7}', b'{"canary-5f1c9": 1}', b"\xff"])
async def test_a_request_that_cannot_be_read(runner: Runner, tmp_path: Path, body: bytes) -> None:
    """A health request that cannot be read is answered as unhealthy with the reason, not with silence."""
    reply = await health_of(runner, tmp_path, VERSION).answer(body)
    assert reply.status == "unhealthy"
    assert reply.reason == 'a health request is empty or {"deep": true}'


async def test_a_responder_that_is_not_fit_for_work(runner: Runner, tmp_path: Path) -> None:
    """It is unhealthy with the reason, and no prompt is spent on it."""
    health = health_of(runner, tmp_path, VERSION + f"touch {tmp_path / 'prompted'}; answer healthy")
    health.service.fitness.end(ErrorCode.RATE_LIMITED, None, 0.0)
    for body in (b"", b'{"deep": true}'):
        reply = await health.answer(body)
        assert (reply.status, reply.cli_available, reply.deep) == ("unhealthy", True, None)
        assert reply.reason == "the API limits the credential"
    assert not (tmp_path / "prompted").exists()
