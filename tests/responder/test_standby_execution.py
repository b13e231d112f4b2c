"""Jobs that are served by CLIs started ahead: the same outcome as cold, one request each, and nothing left."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contract import ErrorCode, ExecuteRequest, RequestLimits
from responder.admission import Admission, Job
from responder.arguments import ArgumentPolicy
from responder.cli_environment import CLIEnvironment
from responder.demand import Demand
from responder.execution import Audience, Execution
from responder.freshness import Freshness
from responder.outcome import Failure, Success
from responder.run import Runner
from responder.standby import Standby
from responder.standby_arguments import mold_of_arguments
from responder.standby_limits import StandbyLimits
from responder.sweep import Sweeper
from responder.tracing import Tracing
from responder.working_directory import WorkingDirectories
from tests.responder.ahead import STREAM_ARGS, make_ground
from tests.responder.left import Left
from tests.responder.shell import ENV
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "nothing_is_left")
REQUESTS = 200
WAY = """case " $* " in *" --input-format "*) answer standby ;; *) answer cold ;; esac"""


@contextlib.asynccontextmanager
async def executing(
    folder: Path, sweeper: Sweeper, on_user: str = "answer hello", *, args: tuple[str, ...] = (), count: int = 1
) -> AsyncIterator[tuple[Execution, Standby]]:
    """Give what runs jobs, with so many processes kept ready for requests with these arguments."""
    cli = stream_cli(folder, on_user)
    ground = make_ground(folder, cli, sweeper)
    mold = mold_of_arguments(ArgumentPolicy().arguments(args))
    assert mold is not None
    standby = Standby(ground, StandbyLimits(count), Demand((mold,)), Freshness(cli, {"HOME": str(folder)}))
    for _ in range(count):
        standby.demand.note(mold, asyncio.get_running_loop().time())
    runner = Runner(sweeper, ground.limits)
    environment = CLIEnvironment(ENV)
    async with standby.kept():
        yield Execution(cli, runner, environment, ground.directories, Tracing(), standby), standby


async def until_ready(standby: Standby, count: int = 1) -> None:
    await wait_until(lambda: sum(process.is_ready for process in standby._waiting) >= count, f"{count} are ready")


def job(*args: str, prompt: str = "p", seconds: float = 60.0) -> Job:
    admission = Admission(RequestLimits(), ArgumentPolicy(), WorkingDirectories([]))
    request = ExecuteRequest(prompt=prompt, args=args or None, timeout_ms=round(seconds * 1000))
    return admission.admit(request, asyncio.get_running_loop().time())


@pytest.mark.parametrize("args", [(), ("--output-format", "text"), STREAM_ARGS])
async def test_the_outcome_is_that_of_a_cold_run(tmp_path: Path, sweeper: Sweeper, args: tuple[str, ...]) -> None:
    """Whatever the format, outcome and output are those of a cold run, to the byte."""
    async with executing(tmp_path, sweeper, args=args) as (execution, standby):
        await until_ready(standby)
        outcome, seen = await execution.execute(job(*args))
        cold, seen_cold = await replace(execution, standby=None).execute(job(*args))
    assert isinstance(outcome, Success)
    assert outcome == cold
    assert seen.stdout == seen_cold.stdout


async def test_which_way_a_job_is_run(tmp_path: Path, sweeper: Sweeper) -> None:
    """A job is served by what waits for it; others, and those for which nothing waits, run cold."""
    async with executing(tmp_path, sweeper, WAY) as (execution, standby):
        await until_ready(standby)
        standby.stop_starting()
        assert await way(execution, job("--model", "opus")) == "cold"
        assert await way(execution, job()) == "standby"
        assert await way(execution, job()) == "cold"
        assert list(standby._cold_starts.latest)


async def test_a_death_that_nobody_has_noticed(tmp_path: Path, sweeper: Sweeper) -> None:
    """A job whose process has died before it could read it runs cold instead."""
    async with executing(tmp_path, sweeper, WAY) as (execution, standby):
        await until_ready(standby)
        (process,) = standby._waiting
        os.kill(process.pid, signal.SIGKILL)
        assert await way(execution, job()) == "cold"


async def test_a_death_during_the_run(tmp_path: Path, sweeper: Sweeper) -> None:
    """A job whose process dies after it has read it is not run again: the failure is told, with its status."""
    async with executing(tmp_path, sweeper, "echo ran >&2; exit 7") as (execution, standby):
        await until_ready(standby)
        outcome, seen = await execution.execute(job())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.executed, outcome.detail) == (ErrorCode.CLI_ERROR, True, "ran")
    assert seen.exit_status == 7


async def test_a_run_that_nobody_awaits(tmp_path: Path, sweeper: Sweeper) -> None:
    """A run that was ended because nobody awaits it any more is told as such."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with executing(tmp_path, sweeper, "sleep 300") as (execution, standby):
        await until_ready(standby)
        cancelled.set_result(None)
        outcome, _ = await execution.execute(job(), Audience(cancelled))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.executed) == (ErrorCode.CANCELLED, True)


async def test_the_deadline(tmp_path: Path, sweeper: Sweeper) -> None:
    """A run that is not over at its deadline is told as such."""
    async with executing(tmp_path, sweeper, "sleep 300") as (execution, standby):
        await until_ready(standby)
        outcome, _ = await execution.execute(job(seconds=0.1))
    assert isinstance(outcome, Failure)
    assert outcome.code is ErrorCode.TIMEOUT


@pytest.mark.parametrize("steps", range(0, 24, 3))
async def test_cancelled_at_any_step(tmp_path: Path, sweeper: Sweeper, steps: int) -> None:
    """A job that is cancelled at whichever step leaves nothing, and what was kept for it is replaced."""
    async with executing(tmp_path, sweeper, "init; sleep 0.01; answer hello; sleep 300") as (execution, standby):
        await until_ready(standby)
        running = asyncio.create_task(execution.execute(job()))
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        await until_ready(standby)


async def test_a_span_tells_the_way(tmp_path: Path, sweeper: Sweeper) -> None:
    """The span of the process says that it was started ahead, and has what was seen of it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with executing(tmp_path, sweeper) as (execution, standby):
        await until_ready(standby)
        _, seen = await replace(execution, tracing=Tracing(provider)).execute(job())
    attributes = exporter.get_finished_spans()[0].attributes
    assert attributes is not None
    assert "standby" in attributes.values()
    assert seen.pid in attributes.values()


async def test_without_a_cli_none_is_taken(tmp_path: Path, sweeper: Sweeper) -> None:
    """Where there is no CLI nothing is taken from those that wait."""
    async with executing(tmp_path, sweeper) as (execution, standby):
        await until_ready(standby)
        outcome, _ = await replace(execution, cli=None).execute(job())
        assert len(standby._waiting) == 1
    assert isinstance(outcome, Failure)
    assert outcome.code is ErrorCode.CLI_NOT_FOUND


async def test_many_requests_leave_nothing(tmp_path: Path, sweeper: Sweeper) -> None:
    """Over many requests, by two at once, neither descriptors nor processes nor directories add up."""
    async with executing(tmp_path, sweeper, 'answer "$(pwd) $$"', count=4) as (execution, standby):
        await until_ready(standby, 4)
        before, answers, most = Left.now(tmp_path), set[str](), 0

        async def ask() -> None:
            for _ in range(REQUESTS // 2):
                await until_ready(standby, 2)
                outcome, _ = await execution.execute(job())
                assert isinstance(outcome, Success)
                answers.add(outcome.document.result)

        asking = [asyncio.create_task(ask()) for _ in range(2)]
        while not all(task.done() for task in asking):
            await asyncio.wait(asking, timeout=0.1)
            most = max(most, Left.now(tmp_path).descriptors)
        await asyncio.gather(*asking)
        await until_ready(standby, 4)
        await wait_until(lambda: not standby._ending, "all is over")
        await wait_until(lambda: len(Left.now(tmp_path).directories) == len(before.directories), "directories are gone")
        after = Left.now(tmp_path)
    assert len(answers) == REQUESTS
    assert not standby._cold_starts.latest
    assert after.descriptors == before.descriptors
    assert (len(after.processes), len(after.directories)) == (len(before.processes), len(before.directories))
    # What has answered ends in a moment.
    assert most < before.descriptors + 100


async def way(execution: Execution, job: Job) -> str:
    """Run a job and give the way it went."""
    outcome, _ = await execution.execute(job)
    assert isinstance(outcome, Success), outcome
    result: str = json.loads(outcome.printed)["result"]
    return result
