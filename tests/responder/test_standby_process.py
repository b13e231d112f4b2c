"""One CLI that was started ahead: what it is given, what it prints, how it ends, and that nothing is left of it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from responder.child import ChildStartError
from responder.processes import descendants_of, resident_bytes
from responder.run import Command, Observation, Runner, StopReason
from responder.standby_arguments import Mold
from responder.standby_process import Ground, StandbyProcess
from responder.sweep import Sweeper
from responder.turn import Turn
from tests.responder.ahead import JSON, STREAM, make_ground, started, turn
from tests.responder.left import Left
from tests.responder.limits import no_more_descriptors
from tests.responder.shell import ENV, LEAVE_ALL, LEFTOVERS, is_alive, pid_in
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "nothing_is_left")
DEAF = 'trap "" INT TERM; while :; do sleep 300; done'


@dataclass
class Heard:
    """What was heard while it was printed."""

    printed: list[tuple[int, bytes]] = field(default_factory=list)

    def take(self, offset: int, lines: bytes) -> None:
        """Keep it."""
        self.printed.append((offset, lines))


async def served(ground: Ground, mold: Mold = JSON, given: Turn | None = None) -> Observation:
    """Have a process serve a request."""
    async with started(ground, mold) as process:
        seen = await process.serve(given or turn())
    assert seen is not None
    return seen


async def test_waiting_and_ending_unused(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has started says so, waits, and is gone when it is not wanted."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    async with started(ground) as process:
        assert process.is_usable
        assert repr(process) == f"<StandbyProcess {process.pid} ready>"
        assert process.memory_bytes() > 100_000
    assert not is_alive(process.pid)
    assert not process.is_usable


@pytest.mark.parametrize(("mold", "form"), [(JSON, "json"), (STREAM, "stream-json")])
async def test_it_prints_what_a_cold_one_does(tmp_path: Path, sweeper: Sweeper, mold: Mold, form: str) -> None:
    """What is seen of it is what is seen of a cold run with the same arguments, to the byte."""
    cli = stream_cli(tmp_path, 'answer "$(ls -A | wc -l)"')
    seen = await served(make_ground(tmp_path, cli, sweeper), mold)
    folder = tmp_path / "cold"
    folder.mkdir()
    command = Command((str(cli), "-p", "--output-format", form), ENV, str(folder), b"p")
    cold = await Runner(sweeper, make_ground(tmp_path, cli, sweeper).limits).run("cold", command, turn().deadline)
    assert seen.stdout == cold.stdout != b""
    assert (seen.stderr, seen.exit_status, seen.stop_reason) == (cold.stderr, cold.exit_status, cold.stop_reason)


async def test_what_it_is_given(tmp_path: Path, sweeper: Sweeper) -> None:
    """It gets its arguments, a fresh empty directory, its environment with a mark, and the prompt as it is."""
    program = 'printf "%s\\n" "$*" "$(pwd -P)" "$(ls -A)" "$(env | cut -d= -f1 | sort | xargs)" "$line" >&2; answer x'
    prompt = 'q"\\\n\u00e9\u2028$HOME\\n'
    seen = await served(make_ground(tmp_path, stream_cli(tmp_path, program), sweeper), given=turn(prompt))
    argv, cwd, files, names, line = seen.stderr.decode().splitlines()
    assert tuple(argv.split()) == JSON.argv
    assert Path(cwd).parent.parent == tmp_path / "scratch"
    assert files == ""
    # The shell adds PWD, and its prelude STAY.
    assert names.split() == sorted({*ENV, "HOME", "CLAUDE_NATS_RUN", "PWD", "STAY"})
    assert json.loads(line) == {"type": "user", "message": {"role": "user", "content": prompt}}


async def test_a_trace_comes_before_the_prompt(tmp_path: Path, sweeper: Sweeper) -> None:
    """The parent of its spans is set before it reads the prompt."""
    cli = stream_cli(tmp_path, 'echo "$line" >&2; answer x', on_control='echo "$line" >&2; ready')
    seen = await served(make_ground(tmp_path, cli, sweeper), given=turn(trace_headers={"traceparent": "00-1-2-01"}))
    ready, trace, prompt = [json.loads(line) for line in seen.stderr.splitlines()]
    assert ready["request"]["settings"] == {}
    assert trace["request"]["settings"] == {"env": {"TRACEPARENT": "00-1-2-01"}}
    assert prompt["type"] == "user"


@pytest.mark.parametrize("space", ["", " "])
async def test_an_error_has_the_status_of_a_cold_one(tmp_path: Path, sweeper: Sweeper, space: str) -> None:
    """A result that is an error comes with status 1, whatever else was printed before."""
    event = f'{{"type":"result","subtype":"success","is_error":{space}true,"result":"no"}}'
    cli = stream_cli(tmp_path, f"init; assistant; echo '{event}'")
    for mold in (JSON, STREAM):
        seen = await served(make_ground(tmp_path, cli, sweeper), mold)
        assert seen.exit_status == 1
        assert seen.stdout.decode().endswith(f"{event}\n")


async def test_what_a_stream_prints_is_heard(tmp_path: Path, sweeper: Sweeper) -> None:
    """Each line of a stream is heard when it is printed, with its place; of one document nothing is."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    for mold in (STREAM, JSON):
        heard = Heard()
        seen = await served(ground, mold, replace(turn(), on_output=heard.take))
        assert b"".join(lines for _, lines in heard.printed) == (seen.stdout if mold is STREAM else b"")
        assert all(seen.stdout[offset:].startswith(lines) for offset, lines in heard.printed)


async def test_a_defect_of_who_listens(tmp_path: Path, sweeper: Sweeper) -> None:
    """What goes wrong where the output is heard ends the run, as it does a cold one."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, f"answer hello; {DEAF}"), sweeper)

    def fail(_offset: int, _lines: bytes) -> None:
        raise ZeroDivisionError

    async with started(ground, STREAM) as process:
        with pytest.raises(ZeroDivisionError):
            await process.serve(replace(turn(), on_output=fail))
        assert not is_alive(process.pid)


@pytest.mark.parametrize("line", ["[" * 100_000, "no JSON", "[]", '{"type":1}', "\\377", '{"subtype":"x"}'])
async def test_lines_that_are_no_events(tmp_path: Path, sweeper: Sweeper, line: str) -> None:
    """Whatever is printed besides events is part of a stream, and of no document; the result is found after it."""
    (tmp_path / "line").write_text(line)
    cli = stream_cli(tmp_path, f"cat {tmp_path}/line; echo; answer hello")
    for mold, is_part in ((STREAM, True), (JSON, False)):
        seen = await served(make_ground(tmp_path, cli, sweeper), mold)
        assert seen.stdout.startswith(line.encode()) == is_part
        assert seen.exit_status == 0


async def test_types_that_stand_elsewhere(tmp_path: Path, sweeper: Sweeper) -> None:
    """An event is known by its type, in whatever place and with whatever spaces it stands."""
    cli = stream_cli(tmp_path, """echo '{"result": "x", "is_error": false, "type": "result"}'""")
    assert json.loads((await served(make_ground(tmp_path, cli, sweeper))).stdout)["result"] == "x"


# Before it is used.


@pytest.mark.parametrize("at_start", ["exit 0", "exit 3", "kill -9 $$", "ready; exit 0"])
async def test_dead_before_its_use(tmp_path: Path, sweeper: Sweeper, at_start: str) -> None:
    """One that has ended is settled, of no use, and no zombie."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, at_start=at_start), sweeper)
    async with started(ground, is_ready=False) as process:
        await process.settled
        await wait_until(lambda: not process.is_usable, "it is of no use")
        await wait_until(lambda: process.pid not in sweeper._others, "the sweeper knows")
        assert not is_alive(process.pid)


@pytest.mark.parametrize("printed", ["init", "result x", "echo no JSON", "echo; exec sleep 300"])
async def test_unexpected_words(tmp_path: Path, sweeper: Sweeper, printed: str) -> None:
    """One that prints before it is asked is settled, and of no use: what it says would reach whoever comes next."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, at_start=printed, on_control=":"), sweeper)
    async with started(ground, is_ready=False) as process:
        await process.settled
        assert not process.is_usable


async def test_too_many_unexpected_words(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that prints a line without an end while it waits is of no use once that is over the limit."""
    cli = stream_cli(tmp_path, at_start="head -c 3000 /dev/zero; exec sleep 300")
    async with started(make_ground(tmp_path, cli, sweeper, output_max_bytes=2000), STREAM, is_ready=False) as process:
        await process.settled
        assert not process.is_usable


async def test_one_that_never_answers(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has not said that it has started is not ready, and serves all the same when it does start."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, on_control=":"), sweeper)
    async with started(ground, is_ready=False) as process:
        assert repr(process) == f"<StandbyProcess {process.pid} starting>"
        seen = await process.serve(turn())
        assert process.settled.done()
        assert not process.is_ready
    assert seen is not None
    assert seen.exit_status == 0


async def test_what_it_says_on_stderr_takes_memory(tmp_path: Path, sweeper: Sweeper) -> None:
    """What a waiting one has said on stderr counts as its memory."""
    cli = stream_cli(tmp_path, at_start="head -c 900000 /dev/zero | tr '\\0' x >&2")
    async with started(make_ground(tmp_path, cli, sweeper)) as process:
        assert process.memory_bytes() >= 900_000 + resident_bytes(process.pid)


# What can happen during a run.


async def test_it_ends_without_a_result(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ends after it was asked tells its own status and words, and nothing is left of it at once."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path, "init; echo why >&2; exit 7"), sweeper)) as process:
        seen = await process.serve(turn())
        assert not is_alive(process.pid)
    assert seen is not None
    assert (seen.exit_status, seen.stop_reason, seen.stderr, seen.stdout) == (7, None, b"why\n", b"")


async def test_it_has_ended_before_it_was_asked(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ends without having read the request has not run it, which is told apart."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.is_usable  # nobody can know yet
        assert await process.serve(turn(trace_headers={"traceparent": "00-1-2-01"})) is None
        assert not is_alive(process.pid)


async def test_it_has_ended_before_it_had_read_all(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ends in the middle of the request has not run it either: it acts on whole lines."""
    cli = stream_cli(tmp_path, on_control="ready; head -c 10000 >/dev/null; exit 3")
    for size in (20_000, 200_000):
        async with started(make_ground(tmp_path, cli, sweeper)) as process:
            assert await process.serve(turn("x" * size)) is None


async def test_a_result_just_before_the_end(tmp_path: Path, sweeper: Sweeper) -> None:
    """A result is heard also when the process has ended meanwhile; the status is that of the result."""
    seen = await served(make_ground(tmp_path, stream_cli(tmp_path, "answer hello; exit 9"), sweeper))
    assert (seen.exit_status, json.loads(seen.stdout)["result"]) == (0, "hello")


@pytest.mark.parametrize("on_user", ["sleep 300", DEAF, "init; assistant; exec sleep 300"])
async def test_the_deadline(tmp_path: Path, sweeper: Sweeper, on_user: str) -> None:
    """One that has no result at the deadline is ended then, also if it is deaf."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path, on_user), sweeper)) as process:
        seen = await process.serve(turn(seconds=0.1))
        assert not is_alive(process.pid)
    assert seen is not None
    assert seen.stop_reason is StopReason.DEADLINE
    assert seen.exit_status is not None


async def test_the_deadline_of_one_that_does_not_read(tmp_path: Path, sweeper: Sweeper) -> None:
    """A prompt larger than the pipe that nobody reads keeps nobody waiting after the deadline."""
    cli = stream_cli(tmp_path, on_control="ready; exec sleep 300")
    seen = await served(make_ground(tmp_path, cli, sweeper), given=turn("x" * 1_000_000, seconds=0.1))
    assert seen.stop_reason is StopReason.DEADLINE


async def test_a_prompt_larger_than_the_pipe(tmp_path: Path, sweeper: Sweeper) -> None:
    """A large prompt arrives whole, though it is read byte by byte."""
    cli = stream_cli(tmp_path, 'answer "${#line}"')
    seen = await served(make_ground(tmp_path, cli, sweeper), given=turn("x" * 300_000))
    empty = len(json.dumps({"type": "user", "message": {"role": "user", "content": ""}}))
    assert json.loads(seen.stdout)["result"] == str(300_000 + empty)


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.RESPONDER_STOPPED])
@pytest.mark.parametrize("on_user", ["sleep 300", DEAF])
async def test_reasons_to_end_it(tmp_path: Path, sweeper: Sweeper, on_user: str, reason: StopReason) -> None:
    """One whose caller has gone, or whose responder stops, is ended in the middle of its run."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, f"touch {tmp_path}/asked; {on_user}"), sweeper)
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with started(ground) as process:
        serving = asyncio.create_task(process.serve(replace(turn(), cancelled=cancelled)))
        await wait_until((tmp_path / "asked").exists, "it runs")
        (cancelled if reason is StopReason.CANCELLED else ground.stopped).set_result(None)
        seen = await serving
        assert not is_alive(process.pid)
    assert seen is not None
    assert seen.stop_reason is reason


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_serves_is_cancelled(tmp_path: Path, sweeper: Sweeper, steps: int) -> None:
    """A run that is cancelled at any step, and again while it is ended, leaves no process."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path, DEAF), sweeper)) as process:
        serving = asyncio.create_task(process.serve(turn()))
        for _ in range(1 + steps // 2):
            await asyncio.sleep(0)
        serving.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait({serving})
        assert serving.cancelled()
        assert not is_alive(process.pid)


ENDLESS_LINE = "head -c 3000000 /dev/zero; sleep 300"
ENDLESS_STREAM = "while :; do assistant; done"
ENDLESS_ERRORS = "head -c 3000000 /dev/zero >&2; sleep 300"


@pytest.mark.parametrize(
    ("mold", "on_user"),
    [(STREAM, ENDLESS_LINE), (STREAM, ENDLESS_STREAM), (STREAM, ENDLESS_ERRORS), (JSON, ENDLESS_ERRORS)],
)
async def test_more_than_the_limit(tmp_path: Path, sweeper: Sweeper, mold: Mold, on_user: str) -> None:
    """One that prints more than it may, on stdout or stderr, is ended; what was printed is bounded."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, on_user), sweeper, output_max_bytes=10_000)
    seen = await served(ground, mold)
    assert seen.stop_reason is StopReason.OUTPUT_TOO_LARGE
    assert len(seen.stdout) <= 20_000
    assert len(seen.stderr) <= ground.limits.stderr_kept_bytes


async def test_a_document_over_the_limit(tmp_path: Path, sweeper: Sweeper) -> None:
    """A result that alone is more than a run may print is too much."""
    cli = stream_cli(tmp_path, "answer $(head -c 20000 /dev/zero | tr '\\0' x)")
    seen = await served(make_ground(tmp_path, cli, sweeper, output_max_bytes=10_000))
    assert seen.stop_reason is StopReason.OUTPUT_TOO_LARGE


async def test_events_that_are_not_printed_have_no_limit(tmp_path: Path, sweeper: Sweeper) -> None:
    """What a cold CLI would not have printed does not count: only the result is the output."""
    event = """printf '{"type":"assistant","message":"%s"}\\n' $(head -c 20000 /dev/zero | tr '\\0' x)"""
    cli = stream_cli(tmp_path, f"{event}; {event}; result hello")
    seen = await served(make_ground(tmp_path, cli, sweeper, output_max_bytes=10_000))
    assert seen.stop_reason is None
    assert json.loads(seen.stdout)["result"] == "hello"


# Afterwards.


@pytest.mark.parametrize("after", [DEAF, "exec sleep 300", "exec >&-; sleep 300", "while :; do assistant; done"])
async def test_one_that_lingers(tmp_path: Path, sweeper: Sweeper, after: str) -> None:
    """The answer is there when the result is; one that does not end by itself is ended, and says nothing more."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, f"answer hello; {after}"), sweeper)
    async with started(ground, STREAM) as process:
        seen = await process.serve(turn())
        assert is_alive(process.pid)
    assert seen is not None
    assert seen.stdout.count(b"\n") == 3
    assert not is_alive(process.pid)


async def test_what_a_good_run_leaves(tmp_path: Path, sweeper: Sweeper) -> None:
    """Whatever a run that ended well has left, in whatever session and with whatever environment, is killed."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path, f"{LEAVE_ALL}\nanswer hello"), sweeper)) as process:
        before = len(descendants_of(os.getpid()))
        seen = await process.serve(turn())
        assert seen is not None
        assert seen.exit_status == 0
        assert len(descendants_of(os.getpid())) >= before + len(LEFTOVERS)


async def test_what_a_bad_run_leaves(tmp_path: Path, sweeper: Sweeper) -> None:
    """Whatever a run has left that ended without a result is gone before it is told, and counted."""
    seen = await served(make_ground(tmp_path, stream_cli(tmp_path, f"{LEAVE_ALL}\nexit 1"), sweeper))
    assert seen.survivors >= len(LEFTOVERS)


async def test_what_an_unused_one_leaves(tmp_path: Path, sweeper: Sweeper) -> None:
    """What one has started that was never used, as a wrapper around a CLI does, goes with it."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, at_start=LEAVE_ALL), sweeper)
    async with started(ground):
        assert len(descendants_of(os.getpid())) > len(LEFTOVERS)


async def test_others_are_spared(tmp_path: Path, sweeper: Sweeper) -> None:
    """What is swept up after one is neither another that waits, nor one that serves, nor what that one has started."""
    program = f"stay {tmp_path}/pid & await {tmp_path}/pid; until [ -e {tmp_path}/go ]; do sleep 0.01; done; answer x"
    ground = make_ground(tmp_path, stream_cli(tmp_path, program), sweeper)
    async with started(ground) as waiting, started(ground) as serving:
        run = asyncio.create_task(serving.serve(turn()))
        await wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()), "it runs")
        async with started(ground):
            pass
        assert waiting.is_usable
        assert not run.done()
        assert is_alive(pid_in(tmp_path / "pid"))
        (tmp_path / "go").touch()
        seen = await run
    assert seen is not None
    assert seen.exit_status == 0


async def test_a_heir_that_prints_for_ever(tmp_path: Path, sweeper: Sweeper) -> None:
    """A run that has ended is told although what it has left goes on printing to its stdout."""
    cli = stream_cli(tmp_path, "setsid sh -c 'while :; do echo x; done' & exit 3")
    seen = await served(make_ground(tmp_path, cli, sweeper))
    assert (seen.exit_status, seen.stop_reason) == (3, None)


# Where it cannot be started.


async def test_descriptors_run_out(tmp_path: Path, sweeper: Sweeper) -> None:
    """A start that fails for want of a descriptor, at whichever step, leaves none, no process and no directory."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    before = Left.now(tmp_path)
    refused = 0
    for left in range(20):
        process = None
        with no_more_descriptors(left), contextlib.suppress(ChildStartError):
            process = await StandbyProcess.start(JSON, ground)
        if process is not None:
            await process.end()
        refused += process is None
        await wait_until(lambda: Left.now(tmp_path) == before, "nothing is left")
    assert 5 < refused < 20


@pytest.mark.parametrize("missing", ["cli", "scratch"])
async def test_something_is_missing(tmp_path: Path, sweeper: Sweeper, missing: str) -> None:
    """A start without an executable or a place for the directory fails in words."""
    ground = make_ground(tmp_path, tmp_path / "nowhere", sweeper)
    if missing == "scratch":
        shutil.rmtree(tmp_path / "scratch")
    with pytest.raises(ChildStartError):
        await StandbyProcess.start(JSON, ground)


async def test_an_argument_that_cannot_be_one(tmp_path: Path, sweeper: Sweeper) -> None:
    """A start that fails by a defect of ours leaves nothing either."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    with pytest.raises(ValueError, match="null byte"):
        await StandbyProcess.start(Mold(("\0",), is_stream=False), ground)
