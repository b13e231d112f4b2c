"""Stopping a responder: it leaves the group, finishes what it accepted, and leaves nothing behind."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import pytest

from contract import ExecuteFailure
from responder.processes import descendants_of
from responder.stub_api import Rule, Script, StubAPI, Tool
from tests.hop.conftest import SUBJECT, Fleet, RawCaller
from tests.hop.test_connection import unused_port
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import nats_server
from tests.support.responder_process import responder_process

SKIP = "--dangerously-skip-permissions"


async def test_sigterm_finishes_what_was_accepted(fleet: Fleet, caller: RawCaller) -> None:
    """What runs and what waits is answered, later requests find nobody, and the exit status is 0."""
    gate = fleet.home / "gate"
    cli = fake_cli(fleet.home, f"cat >/dev/null; until [ -e {gate} ]; do sleep 0.02; done; answer ok")
    responder = await fleet.start("r1", "--slots", "2", cli=str(cli))
    asked = [asyncio.create_task(caller.succeed(prompt="hi")) for _ in range(5)]
    await wait_until(lambda: len(responder.clis()) >= 2, "two run")
    responder.signal(signal.SIGTERM)
    await responder.wait_until_said("draining")

    async def has_left() -> bool:
        try:
            await caller.client.request(SUBJECT, b"{}", timeout=0.5)
        except nats.errors.NoRespondersError:
            return True
        return False

    while not await has_left():
        pass
    gate.touch()
    assert all("ok" in reply.result for reply in await asyncio.gather(*asked))
    assert await responder.wait() == 0


async def test_a_burst_at_the_moment_of_leaving_is_answered(fleet: Fleet, caller: RawCaller) -> None:
    """Requests that reach the server while a responder leaves are answered by it or by another, never lost."""
    cli = str(fake_cli(fleet.home, "cat >/dev/null; answer ok"))
    first, _ = await asyncio.gather(*(fleet.start(name, "--backlog-max", "1000", cli=cli) for name in ("r1", "r2")))
    asked = []
    for number in range(200):
        asked.append(asyncio.create_task(caller.succeed(prompt="hi")))
        if number == 100:
            first.signal(signal.SIGTERM)
        await asyncio.sleep(0)
    replies = await asyncio.gather(*asked)
    assert len(replies) == 200
    assert await first.wait() == 0


async def test_after_the_grace_runs_are_ended_and_say_so(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """What has not finished within the grace is ended and answered, started or not, with nothing left behind."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "sleep 66.5"}), text="done"),)))
    responder = await fleet.start("r1", "--slots", "1", "--drain-grace-s", "0.2", CLAUDE_RESPONDER_ALLOW=SKIP)
    asked = [asyncio.create_task(caller.ask(prompt="hi", args=[SKIP])) for _ in range(2)]
    await wait_until(lambda: "sleep" in responder.commands(), "the tool runs")
    processes = responder.descendants()
    responder.signal(signal.SIGTERM)
    replies = await asyncio.gather(*asked)
    codes = sorted((reply.code, reply.executed) for reply in replies if isinstance(reply, ExecuteFailure))
    assert codes == [("responder_stopped", True), ("stopping", False)]
    assert await responder.wait() == 1
    assert not any(is_alive(pid) for pid in processes)


async def test_a_second_signal_ends_at_once(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """The second SIGTERM does not wait for the runs, and still leaves none behind."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "sleep 67.5"}), text="done"),)))
    responder = await fleet.start("r1", CLAUDE_RESPONDER_ALLOW=SKIP)
    asked = asyncio.create_task(caller.fail(prompt="hi", args=[SKIP]))
    await wait_until(lambda: "sleep" in responder.commands(), "the tool runs")
    processes = responder.descendants()
    responder.signal(signal.SIGTERM)
    await responder.wait_until_said("draining")
    responder.signal(signal.SIGTERM)
    assert (await asked).code == "responder_stopped"
    assert await responder.wait() == 1
    assert not any(is_alive(pid) for pid in processes)


async def test_replies_that_nats_cannot_take_are_not_called_drained(fleet: Fleet, tmp_path: Path) -> None:
    """A drain while NATS is away waits for it within the grace, then says that replies are lost, and exits with 1."""
    cli = fake_cli(fleet.home, "cat >/dev/null; sleep 0.5; answer ok")
    (tmp_path / "other").mkdir()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(nats_server(tmp_path / "other"))
        responder = await fleet.start(
            "r9", "--drain-grace-s", "2", cli=str(cli), NATS_URL=url, module="tests.support.hasty_responder"
        )
        client = await nats.connect(url, allow_reconnect=False)
        asked = asyncio.create_task(client.request(SUBJECT, b'{"prompt":"hi"}', timeout=30))
        await wait_until(lambda: bool(responder.descendants()), "it runs")
        responder.signal(signal.SIGTERM)
        await responder.wait_until_said("draining")
        asked.cancel()
        await client.close()
    assert await asyncio.wait_for(responder.wait(), 30) == 1
    assert any("may not have been sent" in line for line in responder.log), responder.log
    assert not [line for line in responder.log if line.endswith("drained") or "Traceback" in line], responder.log


async def test_an_idle_responder_does_not_wait_for_nats_to_come_back(fleet: Fleet, tmp_path: Path) -> None:
    """A drain with nothing to send ends at once with status 0, also while NATS is away."""
    (tmp_path / "other").mkdir()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(nats_server(tmp_path / "other"))
        responder = await fleet.start("r9", "--drain-grace-s", "300", cli="/bin/true", NATS_URL=url)
    await responder.wait_until_said("disconnected")
    responder.signal(signal.SIGTERM)
    assert await asyncio.wait_for(responder.wait(), 30) == 0
    await responder.wait_until_said("drained")


@pytest.mark.parametrize("age_s", [0.0, 0.2, 0.4, None])
async def test_a_killed_responder_takes_its_clis_with_it(
    fleet: Fleet, caller: RawCaller, api: StubAPI, age_s: float | None
) -> None:
    """`kill -9` of a responder ends its CLIs, those of any age that still start and those inside a tool."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "env -i sleep 68.5"}), text="done"),)))
    responder = await fleet.start("r1", CLAUDE_RESPONDER_ALLOW=SKIP)
    asked = [asyncio.create_task(caller.ask(prompt="hi", args=[SKIP])) for _ in range(3)]
    if age_s is None:
        await wait_until(lambda: "sleep" in responder.commands(), "the tool runs")
    else:
        await wait_until(lambda: len(responder.clis()) == 3, "the CLIs start")
        starts_at = asyncio.get_running_loop().time()
        await wait_until(lambda: asyncio.get_running_loop().time() >= starts_at + age_s, "they are that old")
    processes = descendants_of(responder.pid)
    responder.signal(signal.SIGKILL)
    await wait_until(lambda: not any(is_alive(pid) for pid in processes), "no process is left, no watchdog either", 5)
    assert await responder.wait() == -signal.SIGKILL
    for task in asked:
        task.cancel()


async def test_a_cli_that_ignores_signals_does_not_outlive_a_killed_responder(fleet: Fleet, caller: RawCaller) -> None:
    """A CLI that ignores SIGINT, as the real one does at a certain age, is killed a moment later."""
    cli = fake_cli(fleet.home, "trap '' INT TERM; sleep 69.5; sleep 69.5")
    responder = await fleet.start("r1", cli=str(cli))
    asked = asyncio.create_task(caller.ask(prompt="hi"))
    await wait_until(lambda: "sleep" in responder.commands(), "it runs")
    processes = responder.descendants()
    responder.signal(signal.SIGKILL)
    await wait_until(lambda: not any(is_alive(pid) for pid in processes), "no process is left", 5)
    asked.cancel()


async def test_a_killed_responder_takes_its_embedded_server_with_it(tmp_path: Path, api: StubAPI) -> None:
    """`kill -9` of a responder ends its embedded nats-server and those that stand ready, and then its watchdog."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(f"nats://127.0.0.1:{unused_port()}", api, tmp_path, stack)
        responder = await fleet.start("r1", "--embedded", CLAUDE_RESPONDER_STANDBY_MAX="1")
        await wait_until(lambda: bool(responder.clis()), "one stands ready")
        processes = descendants_of(responder.pid)
        assert len(processes) >= 3
        responder.signal(signal.SIGKILL)
        await wait_until(lambda: not any(is_alive(pid) for pid in processes), "no process is left", 5)


async def test_a_responder_waits_for_nats_and_drains_before_it_came(fleet: Fleet) -> None:
    """A responder started before its server waits for it, says so without credentials, and can be stopped."""
    async with responder_process(
        "r1", fleet.environment(NATS_URL="nats://user:hunter2@127.0.0.1:1", cli="/bin/true"), ready=False
    ) as responder:
        await responder.wait_until_said("NATS: ")
        responder.signal(signal.SIGTERM)
        assert await responder.wait() == 0
        assert not any("hunter2" in line for line in responder.log)


def is_alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 # one line
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
