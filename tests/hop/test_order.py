"""The order in which a responder serves what waits, over the whole hop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from requester import Requester, RequesterSettings
from tests.hop.conftest import Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli

# Notes what was asked, and runs until it is told to end, alone or with all the others.
GATED = """
[ "$1" = --version ] && {{ echo 2.1.197; exit; }}
p=$(cat); echo $p >>{0}/order; until [ -e {0}/end.$p ] || [ -e {0}/end ]; do sleep 0.02; done; answer $p
"""


@pytest.fixture
async def requesters(nats_url: str) -> AsyncIterator[tuple[Requester, Requester]]:
    settings = RequesterSettings(nats_url=nats_url, timeout_s=60)
    async with Requester(settings) as one, Requester(settings) as other:
        yield one, other


class Runs:
    """What a responder has started, in its order.

    Args:
        folder: Where its fake CLI notes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cli = str(fake_cli(folder, GATED.format(folder)))

    @property
    def order(self) -> list[str]:
        """The prompts."""
        path = self._folder / "order"
        return path.read_text().split() if path.exists() else []

    async def wait_for(self, count: int) -> None:
        """Wait until so many were started."""
        await wait_until(lambda: len(self.order) == count, f"{count} are started")

    def end(self, prompt: str = "") -> None:
        """End one of them, or from now on all."""
        (self._folder / f"end{prompt and '.'}{prompt}").touch()


async def wait_for_backlog(requester: Requester, count: int) -> None:
    """Wait until so many wait at the responder."""
    async with asyncio.timeout(20):
        while (await requester.health()).backlog != count:
            pass


def ask(
    requester: Requester, *prompts: str, priority: Literal["interactive", "batch"] = "interactive"
) -> list[asyncio.Task[str]]:
    async def one(prompt: str) -> str:
        return (await requester.execute(prompt, priority=priority)).text

    return [asyncio.create_task(one(prompt)) for prompt in prompts]


async def test_a_flood_lets_another_requester_through(fleet: Fleet, requesters: tuple[Requester, Requester]) -> None:
    """Behind 20 of one requester the 3 of another are served from the next free slot on, and share the slots."""
    runs = Runs(fleet.home)
    await fleet.start("r1", "--slots", "2", cli=runs.cli)
    one, other = requesters
    flood = ask(one, *(f"a{each}" for each in range(20)))
    await runs.wait_for(2)
    await wait_for_backlog(one, 18)
    few = ask(other, "b0", "b1", "b2")
    await wait_for_backlog(one, 21)
    for ended in range(6):
        runs.end(runs.order[ended])
        await runs.wait_for(ended + 3)
    assert [prompt[0] for prompt in runs.order] == ["a", "a", "b", "a", "b", "a", "b", "a"]
    assert [prompt for prompt in runs.order if prompt[0] == "b"] == ["b0", "b1", "b2"]
    runs.end()
    assert await asyncio.gather(*few) == ["b0", "b1", "b2"]
    assert sorted(await asyncio.gather(*flood)) == sorted(f"a{each}" for each in range(20))


async def test_batch_waits_for_interactive(
    fleet: Fleet, requesters: tuple[Requester, Requester], caller: RawCaller
) -> None:
    """What is asked for as batch, attended or plain, is served after interactive requests that came later."""
    runs = Runs(fleet.home)
    await fleet.start("r1", "--slots", "1", cli=runs.cli)
    one, other = requesters
    tasks = ask(one, "holder")
    await runs.wait_for(1)
    tasks += ask(one, "batch", priority="batch")
    await wait_for_backlog(one, 1)
    plain = asyncio.create_task(caller.succeed(prompt="plain-batch", priority="batch"))
    await wait_for_backlog(one, 2)
    for number, requester in enumerate((other, one), start=3):
        tasks += ask(requester, f"interactive{number}")
        await wait_for_backlog(one, number)
    runs.end()
    await asyncio.gather(*tasks, plain)
    assert runs.order[:3] == ["holder", "interactive3", "interactive4"]
    assert sorted(runs.order[3:]) == ["batch", "plain-batch"]


async def test_batch_that_has_waited_long_is_served_by_its_age(
    fleet: Fleet, requesters: tuple[Requester, Requester]
) -> None:
    """The operator says how long batch gives way: with 0 s requests are served as they came."""
    runs = Runs(fleet.home)
    await fleet.start("r1", "--slots", "1", "--batch-max-wait-s", "0", cli=runs.cli)
    one, _ = requesters
    tasks = ask(one, "holder")
    await runs.wait_for(1)
    tasks += ask(one, "batch", priority="batch")
    await wait_for_backlog(one, 1)
    tasks += ask(one, "interactive")
    await wait_for_backlog(one, 2)
    runs.end()
    await asyncio.gather(*tasks)
    assert runs.order == ["holder", "batch", "interactive"]


async def test_a_flood_that_expires_is_counted(fleet: Fleet, caller: RawCaller) -> None:
    """What expires in the backlog is answered, never started, and counted where operators look."""
    runs = Runs(fleet.home)
    await fleet.start("r1", "--slots", "1", cli=runs.cli)
    holder = asyncio.create_task(caller.succeed(prompt="holder"))
    await runs.wait_for(1)
    failures = await asyncio.gather(*(caller.fail(prompt="late", timeout_ms=100) for _ in range(5)))
    assert {(failure.code, failure.executed) for failure in failures} == {("timeout", False)}
    health = await caller.client.request("claude.cli.health", b"", timeout=10)
    stats = await caller.client.request("$SRV.STATS", b"", timeout=10)
    assert b'"expired":5' in health.data
    assert b'"expired": 5' in stats.data
    runs.end()
    await holder
    assert runs.order == ["holder"]
