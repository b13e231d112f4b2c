"""One CLI between two requests of a caller: when it serves the next, when it must not, and that nothing is left."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from responder.cli_environment import NO_PARENT
from responder.removal import Removals
from responder.standby_arguments import Mold
from responder.standby_process import Ground, StandbyProcess
from responder.sweep import Sweeper
from responder.working_directory import WorkingDirectories
from tests.responder.ahead import JSON, STREAM, make_ground, started, turn
from tests.responder.limits import needs_attributes, no_more_descriptors
from tests.responder.shell import LEAVE_ALL, is_alive, pid_in
from tests.responder.test_removal import make_deep
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "nothing_is_left")


@contextlib.asynccontextmanager
async def busy(folder: Path, ground: Ground, wait_s: float = 10.0) -> AsyncIterator[tuple[Ground, threading.Event]]:
    """Give the ground with directories of which none is emptied before the event is set, or the context over."""
    removals, go = Removals(wait_s), threading.Event()
    for _ in range(2):
        removals.begin(go.wait)
    try:
        yield replace(ground, directories=WorkingDirectories([], folder / "scratch", removals)), go
    finally:
        go.set()
        await removals.close()


@contextlib.asynccontextmanager
async def used(ground: Ground, mold: Mold = JSON) -> AsyncIterator[StandbyProcess]:
    """Give a process that has served a request."""
    async with started(ground, mold) as process:
        await ask(process)
        yield process


async def ask(process: StandbyProcess, **headers: str) -> Any:
    """Have it serve a request, and give the last event."""
    seen = await process.serve(turn(trace_headers=headers))
    assert seen is not None
    assert seen.stop_reason is None
    return json.loads(seen.stdout.splitlines()[-1])


def directory_of(process: StandbyProcess) -> Path:
    return Path(f"/proc/{process.pid}/cwd").resolve()


# When it serves the next.


@pytest.mark.parametrize("mold", [JSON, STREAM])
async def test_one_after_another(tmp_path: Path, sweeper: Sweeper, mold: Mold) -> None:
    """One process serves several requests, waits between them, and is gone at the end."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    async with used(ground, mold) as process:
        for served in (1, 2, 3):
            assert not process.is_usable
            before = asyncio.get_running_loop().time()
            assert await process.renew()
            assert process.waits_since >= before > process.started_at
            assert process.is_usable
            assert process.is_ready
            assert process.served == served
            assert (await ask(process))["result"] == "hello"
    assert not is_alive(process.pid)


@pytest.mark.parametrize("mold", [JSON, STREAM])
async def test_each_has_used_its_own(tmp_path: Path, sweeper: Sweeper, mold: Mold) -> None:
    """What each request has used is told of it, though the CLI counts on."""
    cli = stream_cli(tmp_path, "n=$((n+1)); assistant; priced x $n")
    async with started(make_ground(tmp_path, cli, sweeper), mold) as process:
        for tenths in (1, 2, 3):
            result = await ask(process)
            assert (result["total_cost_usd"], result["duration_api_ms"]) == (tenths / 10, tenths * 10)
            assert result["modelUsage"] == {"m": {"inputTokens": tenths, "costUSD": tenths / 10, "window": 9}}
            assert await process.renew()


async def test_what_it_is_told(tmp_path: Path, sweeper: Sweeper) -> None:
    """Between two requests it is told `/clear`, as a user says it, and nothing else."""
    said = tmp_path / "said"
    log = f"""printf '%s\\n' "$line" >>{said}"""
    cli = stream_cli(tmp_path, f"{log}; answer x", on_control=f"{log}; ready", on_clear=f"{log}; cleared")
    async with used(make_ground(tmp_path, cli, sweeper)) as process:
        assert await process.renew()
    ready, prompt, clear = map(json.loads, said.read_text().splitlines())
    assert ready["type"] == "control_request"
    assert prompt["message"]["content"] == "p"
    assert clear == {"type": "user", "message": {"role": "user", "content": "/clear"}}


async def test_traces(tmp_path: Path, sweeper: Sweeper) -> None:
    """`/clear` is in the trace of no request, and what only one request has in its context is taken away."""
    said = tmp_path / "said"
    log = f"""printf '%s\\n' "$line" >>{said}"""
    cli = stream_cli(tmp_path, on_control=f"{log}; ready", on_clear=f"{log}; cleared")
    async with started(make_ground(tmp_path, cli, sweeper)) as process:
        for headers in ({"traceparent": "1", "tracestate": "a"}, {"traceparent": "2"}):
            await ask(process, **headers)
            assert await process.renew()
    _, first, unsampled, clear, second, unsampled_too, _ = map(json.loads, said.read_text().splitlines())
    assert first["request"]["settings"] == {"env": {"TRACEPARENT": "1", "TRACESTATE": "a"}}
    assert unsampled["request"]["settings"] == {"env": {"TRACEPARENT": NO_PARENT, "TRACESTATE": ""}}
    assert clear["type"] == "user"
    assert second["request"]["settings"] == {"env": {"TRACEPARENT": "2"}}
    assert unsampled_too["request"]["settings"] == {"env": {"TRACEPARENT": NO_PARENT}}


FILES = "mkdir -p a/b .hidden; echo x >a/b/c; echo x >.hidden/d; ln -s /etc link; mkfifo pipe; mkdir shut; chmod 0 shut"


async def test_the_directory_is_empty_again(tmp_path: Path, sweeper: Sweeper) -> None:
    """The next request finds the same directory, and nothing in it."""
    cli = stream_cli(tmp_path, f'seen="$(pwd -P) $(ls -A | wc -l)"; {FILES}; answer "$seen"')
    async with started(make_ground(tmp_path, cli, sweeper)) as process:
        answers = set()
        for _ in range(3):
            answers.add((await ask(process))["result"])
            assert list(directory_of(process).iterdir())
            assert await process.renew()
            assert not list(directory_of(process).iterdir())
        assert answers == {f"{directory_of(process)} 0"}


async def test_a_deep_directory(tmp_path: Path, sweeper: Sweeper) -> None:
    """However deep what a request has left is, it is removed."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        make_deep(directory_of(process) / "top", 1500)
        assert await process.renew()
        assert not list(directory_of(process).iterdir())


async def test_others_are_spared(tmp_path: Path, sweeper: Sweeper) -> None:
    """While it is looked at what it has left, neither it nor another run nor one that waits is ended."""
    program = f"[ -e {tmp_path}/go ] || {{ touch {tmp_path}/runs; until [ -e {tmp_path}/go ]; do sleep 0.01; done; }}"
    slow = stream_cli(tmp_path, f"{program}; answer x", name="slow")
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    async with started(ground) as waiting, used(ground) as process, started(replace(ground, cli=str(slow))) as serving:
        run = asyncio.create_task(ask(serving))
        await wait_until((tmp_path / "runs").exists, "it runs")
        assert await process.renew()
        assert await process.renew() is False  # it has served nothing since
        assert waiting.is_usable
        (tmp_path / "go").touch()
        assert (await run)["result"] == "x"
        async with started(ground):
            pass
        assert await serving.renew()


# When it must not.


TOOL = """echo '{"type":"assistant","message":{"content":[{"type":"tool_use","name":"%s"}]}}'"""
ERROR = """echo '{"type":"result","subtype":"success","is_error":true,"session_id":"s","result":"no"}'"""


async def refuses(process: StandbyProcess) -> bool:
    """Say whether it does not serve again."""
    return not await process.renew()


@pytest.mark.parametrize(
    "on_user",
    [
        f"init; {ERROR}",
        f"{TOOL % 'CronCreate'}; answer x",
        f"{TOOL % 'Bash'}; {TOOL % 'CronCreate'}; {TOOL % 'Bash'}; answer x",
        "answer x; echo x >&2",
        "answer x; sleep 300 &",
        "(setsid sleep 300 &); answer x",
        "sh -c 'setsid sleep 300 & exit'; answer x",
        f"{LEAVE_ALL}\nanswer x",
        'rmdir "$(pwd -P)"; answer x',
        'd="$(pwd -P)"; rmdir "$d"; mkdir -m 700 "$d"; answer x',
        'd="$(pwd -P)"; rmdir "$d"; ln -s / "$d"; answer x',
        'd="$(pwd -P)"; rmdir "$d"; touch "$d"; answer x',
        "chmod 500 .; answer x",
        "chmod 755 .; answer x",
        "chmod 1700 .; answer x",
        "touch x; chmod 500 .; answer x",
        "answer x; exit",
    ],
)
async def test_what_a_request_has_done(tmp_path: Path, sweeper: Sweeper, on_user: str) -> None:
    """A run that failed, or that has left something which may remain, was the last one."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, on_user), sweeper)) as process:
        assert await refuses(process)


@pytest.mark.parametrize("on_user", [f"{TOOL % 'Bash'}; {TOOL % 'Read'}; answer x", "answer x; sleep 0.01"])
async def test_what_a_request_may_do(tmp_path: Path, sweeper: Sweeper, on_user: str) -> None:
    """Tools that keep nothing, and a CLI that is busy for a moment after its result, are no reason."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, on_user), sweeper)) as process:
        assert await process.renew()


CLEARED = (
    '{"type":"result","subtype":"success","is_error":false,"duration_api_ms":0,"num_turns":0,"result":"",'
    '"session_id":"c","total_cost_usd":0,"modelUsage":{}}'
)


def say(line: str) -> str:
    return f"printf '%s\\n' '{line}'"


@pytest.mark.parametrize(
    "on_clear",
    [
        say(CLEARED.replace('"c"', '"s"')),
        say(CLEARED.replace('""', '"x"')),
        say(CLEARED.replace('"total_cost_usd":0,', "")),
        say(CLEARED.replace(":false", ":true")),
        "result x",
        "result late; cleared",
        "cleared; cleared",
        "cleared; assistant",
        "echo x >&2; cleared",
        "sleep 300 & cleared",
        "(setsid sleep 300 &); cleared",
        "exit 0",
        "kill -9 $$",
        "cleared; exit 0",
    ],
)
async def test_what_clear_has_done(tmp_path: Path, sweeper: Sweeper, on_clear: str) -> None:
    """What is not the result of `/clear` alone, or comes with anything else, is a reason to end it."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, on_clear=on_clear), sweeper)) as process:
        if await process.renew():
            await wait_until(lambda: not process.is_usable, "what came after the result has been noticed")


async def test_a_good_result_of_clear(tmp_path: Path, sweeper: Sweeper) -> None:
    """The result alone is enough, also with events before it."""
    cli = stream_cli(tmp_path, on_clear=f"init; assistant; {say(CLEARED)}")
    async with used(make_ground(tmp_path, cli, sweeper)) as process:
        assert await process.renew()


async def test_a_result_that_cannot_be_read(tmp_path: Path, sweeper: Sweeper) -> None:
    """Whose result is no JSON, of which the session cannot be told, serves no more."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path, """echo '{"type":"result"'"""), sweeper)) as process:
        assert await process.serve(turn()) is not None
        assert await refuses(process)


async def test_clear_that_says_nothing(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that does not answer `/clear` is not waited for."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, on_clear=":"), sweeper)) as process:
        before = asyncio.get_running_loop().time()
        assert await refuses(process)
        assert asyncio.get_running_loop().time() - before < 3.0


async def test_clear_that_says_too_much(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that answers with a line without an end is not listened to for ever."""
    cli = stream_cli(tmp_path, on_clear="while :; do head -c 1000000 /dev/zero; done")
    ground = make_ground(tmp_path, cli, sweeper, output_max_bytes=100_000)
    async with used(ground, STREAM) as process:
        assert await refuses(process)


async def test_it_prints_while_it_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that says anything while it waits for the next request serves none: it would be taken for an answer."""
    os.mkfifo(tmp_path / "go")  # to wait for it takes no child, which would be a reason too
    cli = stream_cli(tmp_path, on_clear=f"cleared; read -r _ <{tmp_path}/go; result late")
    async with used(make_ground(tmp_path, cli, sweeper)) as process:
        assert await process.renew()
        assert process.is_usable
        (tmp_path / "go").write_text("x\n")
        await wait_until(lambda: not process.is_usable, "it is of no use")


async def test_it_prints_while_it_is_looked_at(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that says anything between the result of `/clear` and the end of the look at it serves none either."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    async with busy(tmp_path, ground) as (ground, go), used(ground) as process:
        (directory_of(process) / "file").touch()
        renewing = asyncio.create_task(process.renew())
        await wait_until(lambda: process._spent is not None, "it is looked at")
        assert not process.is_usable
        process.take_line(b'{"type":"system"}\n')
        go.set()
        assert not await renewing


async def test_it_dies_while_it_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ends while it waits is of no use, and no zombie."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        assert await process.renew()
        os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: not process.is_usable, "it is of no use")
        assert not is_alive(process.pid)
        assert process.pid not in sweeper._others


async def test_it_is_dead_already(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has ended after its request is told nothing."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: not is_alive(process.pid), "it is dead")
        assert await refuses(process)


async def test_one_that_has_served_nothing(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has served nothing, or nothing since, has nothing to forget."""
    async with started(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        assert await refuses(process)
        assert process.is_usable


async def test_everything_stops(tmp_path: Path, sweeper: Sweeper) -> None:
    """When every run is to end at once `/clear` is not waited for."""
    ground = make_ground(tmp_path, stream_cli(tmp_path, on_clear=":"), sweeper)
    async with used(ground) as process:
        renewing = asyncio.create_task(process.renew())
        await asyncio.sleep(0)
        ground.stopped.set_result(None)
        before = asyncio.get_running_loop().time()
        assert await renewing is False
        assert asyncio.get_running_loop().time() - before < 1.0


async def test_a_directory_that_cannot_be_emptied(tmp_path: Path, sweeper: Sweeper) -> None:
    """One whose directory is not empty in time serves no more."""
    ground = make_ground(tmp_path, stream_cli(tmp_path), sweeper)
    async with busy(tmp_path, ground, 0.05) as (ground, _), used(ground) as process:
        (directory_of(process) / "file").touch()
        assert await refuses(process)


@needs_attributes
async def test_a_directory_with_an_attribute(tmp_path: Path, sweeper: Sweeper) -> None:
    """What is written on the directory itself is something that a request has left."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        os.setxattr(directory_of(process), "user.word", b"x")
        assert await refuses(process)


async def test_it_cannot_be_looked_at(tmp_path: Path, sweeper: Sweeper) -> None:
    """Where there is no descriptor to look at its processes it serves no more."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        with no_more_descriptors(0):
            is_refused = await refuses(process)
        assert is_refused


# Cancelled in the middle.


@pytest.mark.parametrize("steps", range(12))
async def test_whoever_renews_is_cancelled(tmp_path: Path, sweeper: Sweeper, steps: int) -> None:
    """However far it has come when it is cancelled, what is ended then leaves nothing."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, "mkdir a; touch a/b; answer x"), sweeper)) as process:
        renewing = asyncio.create_task(process.renew())
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps % 3 == 2:
            await wait_until(lambda: process._spent is not None, "`/clear` is over")
        renewing.cancel()
        await asyncio.wait({renewing})
    assert not is_alive(process.pid)


async def test_one_that_was_told_something_else(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that answers what it was not asked was told by its own tools, another model, say, which would stay."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path, "ready; answer hello"), sweeper)) as process:
        assert not await process.renew()


async def test_a_daemon_that_could_be_another_runs(tmp_path: Path, sweeper: Sweeper) -> None:
    """What has dropped its environment may be its own, also while other runs go on, for whose sake it is spared."""
    sweeper.register("other", os.getpid())
    leave = f"(env -i setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300' &); await {tmp_path}/pid; answer hello"
    async with used(make_ground(tmp_path, stream_cli(tmp_path, leave), sweeper)) as process:
        assert not await process.renew()
        assert is_alive(pid_in(tmp_path / "pid"))
    assert await sweeper.sweep("other") == 1


async def test_one_that_has_ended_before(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ended right after its result is not taken for a child that stays: its number may be another's."""
    async with used(make_ground(tmp_path, stream_cli(tmp_path), sweeper)) as process:
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.wait({process._child.exited})
        assert not await process.renew()
        assert process.pid not in sweeper._others


async def test_the_memory_of_its_directory(tmp_path: Path, sweeper: Sweeper) -> None:
    """What was written into the CLI's memory of the directory would be read by the next request."""
    leave = 'd="$HOME/.claude/projects/$(pwd -P | tr -c "a-zA-Z0-9\\n" -)/memory"; mkdir -p "$d"; touch "$d/MEMORY.md"'
    async with used(make_ground(tmp_path, stream_cli(tmp_path, f"{leave}; answer hello"), sweeper)) as process:
        assert not await process.renew()
