"""Several responders behave like one queue in front of all slots."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from contract import ExecuteSuccess
from requester import Requester, RequesterSettings
from tests.hop.conftest import Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.responder_process import ResponderProcess

# Notes each start in a ledger: what was asked, and whose CLI it is; runs for 0.3 s, or until it is told to end.
RUNS = """
[ "$1" = --version ] && {{ echo 2.1.197; exit; }}
p=$(cat); echo "$p $CLAUDE_NATS_TEST" >>{0}/ledger; {1}; answer "$p"
"""
FOR_A_WHILE = "sleep 0.3"
UNTIL_TOLD = "until [ -e {0}/end ]; do sleep 0.02; done"


@pytest.fixture
async def requester(nats_url: str) -> AsyncIterator[Requester]:
    async with Requester(RequesterSettings(nats_url=nats_url, timeout_s=60)) as asker:
        yield asker


class Runs:
    """What the responders of a fleet have started.

    Args:
        fleet: Whose CLI notes it in a ledger.
        how: What each run does.
    """

    def __init__(self, fleet: Fleet, how: str = FOR_A_WHILE) -> None:
        self._fleet = fleet
        self._folder = fleet.home
        self._cli = str(fake_cli(self._folder, RUNS.format(self._folder, how.format(self._folder))))

    async def start(self, name: str, slots: int = 2, **more: str) -> ResponderProcess:
        """Start a responder."""
        environment = {"CLAUDE_RESPONDER_CLI_ENV": "CLAUDE_NATS_TEST", "CLAUDE_NATS_TEST": name, **more}
        return await self._fleet.start(name, "--slots", str(slots), cli=self._cli, **environment)

    @property
    def ledger(self) -> list[tuple[str, str]]:
        """Prompt and responder of each start, in their order."""
        path = self._folder / "ledger"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(prompt, responder) for prompt, responder in words]

    @property
    def order(self) -> list[int]:
        """The prompts."""
        return [int(prompt) for prompt, _ in self.ledger]

    def of(self, name: str) -> int:
        """Give how many a responder has started."""
        return sum(responder == name for _, responder in self.ledger)

    async def wait_for(self, count: int, seconds: float = 10.0) -> None:
        """Wait until so many were started."""
        await wait_until(lambda: len(self.ledger) >= count, f"{count} are started", seconds)

    def end(self) -> None:
        """End all of them, from now on."""
        (self._folder / "end").touch()


def ask(requester: Requester, count: int) -> list[asyncio.Task[str]]:
    """Let requests begin, each with its number for a prompt."""

    async def one(number: int) -> str:
        return (await requester.execute(str(number))).text

    return [asyncio.create_task(one(number)) for number in range(count)]


def displacement(order: list[int]) -> float:
    """Give by how many places, on average, requests were started before or after their turn."""
    return sum(abs(number - place) for place, number in enumerate(order)) / len(order)


@pytest.mark.parametrize("attended", [True, False])
async def test_no_slot_idles_while_something_waits(
    fleet: Fleet, requester: Requester, caller: RawCaller, attended: bool
) -> None:
    """36 requests of 0.3 s on responders of 1, 2 and 3 slots take about 1.8 s, nearly in order, and none runs twice."""
    runs = Runs(fleet)
    await asyncio.gather(*(runs.start(f"r{slots}", slots) for slots in (1, 2, 3)))

    async def one(number: int) -> str:
        # As they come, and not in the same millisecond, in which there is no order.
        await asyncio.sleep(number * 0.01)
        prompt = str(number)
        return (await requester.execute(prompt)).text if attended else _text(await caller.succeed(prompt=prompt))

    started_at = time.monotonic()
    assert await asyncio.gather(*(one(number) for number in range(36))) == [str(number) for number in range(36)]
    took_s = time.monotonic() - started_at
    assert sorted(runs.order) == list(range(36))
    assert all(6 * slots - 3 <= runs.of(f"r{slots}") <= 6 * slots + 3 for slots in (1, 2, 3)), runs.ledger
    # A queue group alone gives 12 to each, which takes the one of a single slot 3.6 s.
    assert took_s < 2.9
    assert displacement(runs.order) < 4, runs.order


def _text(reply: ExecuteSuccess) -> str:
    return str(json.loads(reply.result)["result"])


async def test_a_responder_added_under_load_gets_work_at_once(fleet: Fleet, requester: Requester) -> None:
    """Its slots are taken from what waits at another, as soon as it listens."""
    runs = Runs(fleet, UNTIL_TOLD)
    await runs.start("r1", 1)
    tasks = ask(requester, 6)
    await runs.wait_for(1)
    await runs.start("r2", 3)
    await wait_until(lambda: runs.of("r2") == 3, "the new one works", 2)
    runs.end()
    assert sorted(await asyncio.gather(*tasks)) == [str(number) for number in range(6)]
    assert sorted(runs.order) == list(range(6))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_one_that_goes_under_load(fleet: Fleet, number: signal.Signals) -> None:
    """What waited at a responder that stops or is killed is served by the others; what it ran is not run again."""
    runs = Runs(fleet)
    responders = await asyncio.gather(*(runs.start(f"r{each}") for each in range(3)))
    async with Requester(RequesterSettings(nats_url=fleet.nats_url, timeout_s=60)) as requester:
        tasks = ask(requester, 36)
        await runs.wait_for(8)
        responders[0].signal(number)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    lost = [place for place, result in enumerate(results) if isinstance(result, BaseException)]
    assert max(Counter(runs.order).values()) == 1
    if number is signal.SIGTERM:
        assert lost == []
        assert await responders[0].wait() == 0
    else:
        # Those that had their go there when it was killed, of which the caller is told that they may have run.
        assert len(lost) <= 2
        assert all(getattr(results[place], "executed", None) is True for place in lost)
        assert not set(lost) & {int(prompt) for prompt, responder in runs.ledger if responder != "r0"}
    assert set(range(36)) - set(runs.order) <= set(lost)


async def test_stealing_switched_off(fleet: Fleet, caller: RawCaller) -> None:
    """With `CLAUDE_RESPONDER_STEAL=false` everything runs where it arrived, and nothing is offered."""
    runs = Runs(fleet, UNTIL_TOLD)
    off = {"CLAUDE_RESPONDER_STEAL": "false"}
    await runs.start("r1", 1, **off)
    tasks = [asyncio.create_task(caller.ask(prompt=str(number))) for number in range(6)]
    await runs.wait_for(1)
    await runs.start("r2", 5, **off)
    probe = await caller.client.subscribe("claude.cli.idle")
    runs.end()
    replies = await asyncio.gather(*tasks)
    assert [isinstance(reply, ExecuteSuccess) for reply in replies] == [True] * 6
    assert runs.of("r1") == 6
    assert probe.pending_msgs == 0
