"""One run from its start to its end: what is seen of it, and how it is ended."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from responder.run import Command, Observation, RunLimits, Runner, StopReason
from responder.sweep import MARK_VARIABLE, Sweeper
from tests.responder.conftest import STOP_STEP_S
from tests.responder.shell import ENV, children, command, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
LONG_S = 60.0
# Long enough for a script to get ready on a busy machine.
SHORT_S = 0.4
CAP = 100_000
# Says which signals come, and goes on.
DEAF = "trap 'echo INT; echo INT >told' INT; trap 'echo TERM' TERM; echo 1 >ready; while :; do sleep 0.01; done"


async def run(runner: Runner, asked: Command, seconds: float = LONG_S) -> Observation:
    return await runner.run("run-1", asked, asyncio.get_running_loop().time() + seconds)


async def test_a_run_that_ends_well(runner: Runner, tmp_path: Path) -> None:
    """Of a run that ends by itself everything is seen, and no reason to stop."""
    seen = await run(runner, command(tmp_path, "cat; echo oops >&2; exit 3", stdin=b"a prompt"))
    assert (seen.stdout, seen.stderr, seen.exit_status, seen.stop_reason) == (b"a prompt", b"oops\n", 3, None)
    assert (seen.not_found, seen.start_error, seen.survivors) == (False, None, 0)
    assert seen.pid is not None
    assert 0 < seen.duration_s < LONG_S


async def test_a_large_answer_is_seen_whole(runner: Runner, tmp_path: Path) -> None:
    """Megabytes that are printed in the last moment are not cut."""
    seen = await run(runner, command(tmp_path, "cat", stdin=b"0123456789" * 700_000))
    assert seen.stdout == b"0123456789" * 700_000


async def test_the_environment_has_the_runs_mark(runner: Runner) -> None:
    """A run's processes have what was given, and the mark by which they are found again."""
    seen = await runner.run("run-7", Command(("/usr/bin/env", "-0"), {"A": "b c"}, "/"), _in(LONG_S))
    entries = [entry for entry in seen.stdout.decode().split("\0") if entry]
    assert sorted(entries) == ["A=b c", f"{MARK_VARIABLE}=run-7"]


async def test_the_mark_cannot_be_given(runner: Runner) -> None:
    """A mark that is given from outside does not hide a run."""
    seen = await runner.run("run-7", Command(("/usr/bin/env",), {MARK_VARIABLE: "other"}, "/"), _in(LONG_S))
    assert seen.stdout == f"{MARK_VARIABLE}=run-7\n".encode()


async def test_a_missing_executable(runner: Runner, tmp_path: Path) -> None:
    """An executable that is not there is seen as such, without an exit status."""
    assert await run(runner, Command((str(tmp_path / "claude"),), ENV, "/")) == Observation(not_found=True)


async def test_a_start_that_fails(runner: Runner, tmp_path: Path) -> None:
    """A start that the system refuses is seen with the reason."""
    seen = await run(runner, Command(("/bin/true",), ENV, str(tmp_path / "gone")))
    assert seen == Observation(start_error="its working directory is missing")


async def test_the_ladder(runner: Runner, tmp_path: Path) -> None:
    """At its deadline a run gets SIGINT, a step later SIGTERM, a step later SIGKILL, each once."""
    started = time.monotonic()
    seen = await run(runner, command(tmp_path, DEAF), SHORT_S)
    assert seen.stop_reason is StopReason.DEADLINE
    assert (seen.stdout, seen.exit_status) == (b"INT\nTERM\n", -signal.SIGKILL)
    assert time.monotonic() - started >= SHORT_S + 2 * STOP_STEP_S


async def test_sigint_is_enough(runner: Runner, tmp_path: Path) -> None:
    """A run that ends on SIGINT gets nothing more, and what it says at its end is seen; it is no success of its own."""
    body = "trap 'echo INT; exit 0' INT; trap 'echo TERM' TERM; while :; do sleep 0.01; done"
    seen = await run(runner, command(tmp_path, body), SHORT_S)
    assert (seen.stdout, seen.exit_status, seen.stop_reason) == (b"INT\n", 0, StopReason.DEADLINE)


async def test_sigterm_is_enough(runner: Runner, tmp_path: Path) -> None:
    """A run that ignores SIGINT and ends on SIGTERM is not killed."""
    body = "trap '' INT; trap 'echo TERM; exit 7' TERM; while :; do sleep 0.01; done"
    seen = await run(runner, command(tmp_path, body), SHORT_S)
    assert (seen.stdout, seen.exit_status, seen.stop_reason) == (b"TERM\n", 7, StopReason.DEADLINE)


async def test_a_stopped_process_is_ended_too(runner: Runner, tmp_path: Path) -> None:
    """A run that stands still does not outlive its deadline."""
    seen = await run(runner, command(tmp_path, "kill -STOP $$"), SHORT_S)
    assert (seen.exit_status, seen.stop_reason) == (-signal.SIGKILL, StopReason.DEADLINE)


async def test_a_deadline_that_has_passed(runner: Runner, tmp_path: Path) -> None:
    """A run that begins too late is ended at once."""
    seen = await run(runner, command(tmp_path, "exec sleep 300"), -1)
    assert seen.stop_reason is StopReason.DEADLINE
    assert seen.exit_status is not None


async def test_a_signal_of_somebody_elses(runner: Runner, tmp_path: Path) -> None:
    """A run that is killed from outside has no reason to stop."""
    seen = await run(runner, command(tmp_path, "kill -9 $$"))
    assert (seen.exit_status, seen.stop_reason) == (-signal.SIGKILL, None)


@pytest.mark.parametrize("stream", ["", ">&2"])
async def test_too_much_output_ends_a_run(sweeper: Sweeper, tmp_path: Path, stream: str) -> None:
    """A run that prints without end is ended, on whichever stream, and no more than the limit is kept."""
    runner = Runner(sweeper, RunLimits(output_max_bytes=CAP, stderr_kept_bytes=1000, stop_step_s=STOP_STEP_S))
    seen = await run(runner, command(tmp_path, f"exec yes {stream}"))
    assert seen.stop_reason is StopReason.OUTPUT_TOO_LARGE
    assert len(seen.stdout) <= CAP
    assert len(seen.stderr) <= 1000


@pytest.mark.parametrize(("size", "reason"), [(CAP, None), (CAP + 1, StopReason.OUTPUT_TOO_LARGE)])
async def test_the_outputs_boundary(sweeper: Sweeper, tmp_path: Path, size: int, reason: StopReason | None) -> None:
    """Output of exactly the limit is kept whole, one byte more is too much, also of a run that has ended by then."""
    runner = Runner(sweeper, RunLimits(output_max_bytes=CAP))
    seen = await run(runner, command(tmp_path, f"head -c {size} /dev/zero"))
    assert (seen.stop_reason, len(seen.stdout), seen.exit_status) == (reason, CAP, 0)


async def test_the_end_of_stderr_is_kept(sweeper: Sweeper, tmp_path: Path) -> None:
    """Of a long stderr the end is kept, where the reason stands."""
    runner = Runner(sweeper, RunLimits(stderr_kept_bytes=6))
    seen = await run(runner, command(tmp_path, "echo a long story >&2; printf reason >&2"))
    assert seen.stderr == b"reason"


async def test_stopping_kills_at_once(runner: Runner, tmp_path: Path) -> None:
    """A second signal to the responder kills what runs, without SIGINT and SIGTERM before."""
    task = asyncio.create_task(run(runner, command(tmp_path, DEAF)))
    await wait_until((tmp_path / "ready").exists, "the run")
    runner.stop_all()
    seen = await task
    assert (seen.stop_reason, seen.exit_status) == (StopReason.RESPONDER_STOPPED, -signal.SIGKILL)
    assert seen.stdout == b""


async def test_stopping_cuts_a_ladder_short(sweeper: Sweeper, tmp_path: Path) -> None:
    """A run that is being ended step by step is killed when the responder stops at once."""
    runner = Runner(sweeper, RunLimits(stop_step_s=300))
    task = asyncio.create_task(run(runner, command(tmp_path, DEAF)))
    await wait_until((tmp_path / "ready").exists, "the run")
    task.cancel()
    await wait_until((tmp_path / "told").exists, "SIGINT, and the long step after it")
    assert not task.done()
    runner.stop_all()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_stopping_no_run_goes_on(runner: Runner, tmp_path: Path) -> None:
    """A run that comes after the stop is ended at its start, and so is the next."""
    runner.stop_all()
    runner.stop_all()
    for _ in range(2):
        seen = await run(runner, command(tmp_path, "sleep 300"))
        assert (seen.stop_reason, seen.exit_status) == (StopReason.RESPONDER_STOPPED, -signal.SIGKILL)


async def test_runs_do_not_mix(runner: Runner, tmp_path: Path) -> None:
    """Many runs at a time each see their own input, output and status."""
    program = shell(tmp_path, "cat; exit $1")
    before = children()

    async def one(number: int) -> Observation:
        asked = Command((program, str(number)), ENV, str(tmp_path), str(number).encode() * 10_000)
        return await runner.run(f"run-{number}", asked, _in(LONG_S))

    seen = await asyncio.gather(*(one(number) for number in range(40)))
    assert [observation.exit_status for observation in seen] == list(range(40))
    assert [observation.stdout for observation in seen] == [str(number).encode() * 10_000 for number in range(40)]
    assert children() == before


async def test_our_own_environment_is_not_the_runs(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the responder's environment is in a run's."""
    monkeypatch.setenv("CANARY_5F1C9", "canary")
    seen = await run(runner, Command(("/usr/bin/env",), {}, "/"))
    assert b"canary" not in seen.stdout
    assert "CANARY_5F1C9" in os.environ


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
