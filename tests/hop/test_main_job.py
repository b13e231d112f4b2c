"""The main job: one line in a worker, the real CLI on a responder, a truthful answer or an error that says why."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

import requester
from requester import Requester, RequesterSettings
from responder.stub_api import Rule, Script, StubAPI, Tool
from tests.hop.conftest import Fleet, cli_path
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.responder_process import ROOT

SKIP = "--dangerously-skip-permissions"
ONE_LINE = "import asyncio, requester; print(asyncio.run(requester.execute('hi', timeout=60)).text)"
ONE_LINE_SYNC = "import requester; print(requester.execute_sync('hi', timeout=60).text)"


@pytest.fixture
async def ask(nats_url: str) -> AsyncIterator[Requester]:
    async with Requester(RequesterSettings(nats_url=nats_url)) as open_requester:
        yield open_requester


@pytest.mark.parametrize("program", [ONE_LINE, ONE_LINE_SYNC])
async def test_one_line_in_a_worker(fleet: Fleet, api: StubAPI, program: str) -> None:
    """A program of one line gets its answer and ends without a warning or anything left open."""
    api.use(Script(rules=(Rule(text="hello from the other side"),)))
    await fleet.start("r1")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "error", "-c", program,
        env={"NATS_URL": fleet.nats_url, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, said = await worker.communicate()
    assert (printed.decode(), said.decode(), worker.returncode) == ("hello from the other side\n", "", 0)


async def test_the_reply_tells_what_a_caller_asks_for(fleet: Fleet, api: StubAPI, ask: Requester) -> None:
    """Text, cost, tokens, session, responder and times are there, for each output format."""
    api.use(Script(rules=(Rule(text='{"answer": 42}'),)))
    await fleet.start("r1")
    for args in (None, ["--output-format", "text"], ["--output-format", "stream-json", "--verbose"]):
        reply = await ask.execute("hi", args=args)
        assert reply.text.rstrip("\n") == '{"answer": 42}'
        assert reply.json() == {"answer": 42}
        assert reply.cost_usd == pytest.approx(0.001)
        assert reply.usage
        assert reply.session_id
        assert reply.responder == "r1"
        assert 0 < reply.execution_s <= reply.duration_s


async def test_a_schema_gives_structured_output(fleet: Fleet, api: StubAPI, ask: Requester) -> None:
    """With `--json-schema` the reply's JSON is what the model has filled in."""
    api.use(Script(rules=(Rule(tool=Tool(name="StructuredOutput", input={"colour": "red"}), text="done"),)))
    await fleet.start("r1")
    schema = '{"type":"object","properties":{"colour":{"type":"string"}}}'
    assert (await ask.execute("hi", args=["--json-schema", schema])).json() == {"colour": "red"}


# The last one makes the responder leave its queue group for a while.
ERRORS: list[tuple[Rule, dict[str, Any], type[requester.RequesterError]]] = [
    (Rule(status=401), {}, requester.AuthError),
    (Rule(status=500), {}, requester.ApiError),
    (Rule(status=529), {}, requester.ApiOverloadedError),
    (Rule(hang=True), {"timeout": 1.5}, requester.ExecuteTimeoutError),
    (Rule(text="x"), {"args": ["--settings", "{}"]}, requester.ArgumentRefusedError),
    (Rule(text="x"), {"cwd": "/etc"}, requester.CwdRefusedError),
    (Rule(text="x"), {"args": ["--max-budget-usd", "0.0000001"]}, requester.BudgetExceededError),
    (Rule(status=429), {}, requester.RateLimitedError),
]


async def test_each_failure_has_its_exception(fleet: Fleet, api: StubAPI, ask: Requester) -> None:
    """What went wrong in the run is an exception of its own, and names the responder."""
    responder = await fleet.start("r1")
    for rule, options, kind in ERRORS:
        api.use(Script(rules=(rule,)))
        with pytest.raises(kind) as failure:
            await ask.execute("hi", **options)
        assert type(failure.value) is kind
        assert failure.value.responder == "r1"
        assert not responder.descendants()


async def test_a_missing_cli_has_its_exception(fleet: Fleet, ask: Requester) -> None:
    """A responder without a CLI is told apart: nothing was executed."""
    cli = fake_cli(fleet.home, "answer ok")
    await fleet.start("r1", cli=str(cli))
    cli.unlink()
    with pytest.raises(requester.CLINotFoundError) as failure:
        await ask.execute("hi")
    assert failure.value.executed is False


async def test_no_responders_and_overloaded_are_told_apart(fleet: Fleet, ask: Requester) -> None:
    """Both are tried again until the deadline; then the error says which it was, and how often it was tried."""
    with pytest.raises(requester.NoRespondersError, match="attempts"):
        await ask.execute("hi", timeout=0.8)
    gate = fleet.home / "gate"
    cli = fake_cli(fleet.home, f"cat >/dev/null; until [ -e {gate} ]; do sleep 0.02; done; answer ok")
    responder = await fleet.start("r1", "--slots", "1", "--backlog-max", "0", cli=str(cli))
    holder = asyncio.create_task(ask.execute("hi"))
    await wait_until(lambda: bool(responder.descendants()), "the slot is taken")
    with pytest.raises(requester.OverloadedError, match="attempt"):
        await ask.execute("hi", timeout=0.8)
    late = asyncio.create_task(ask.execute("hi", timeout=20))
    await wait_until(lambda: any("overloaded" in line for line in responder.log), "it is refused at first")
    gate.touch()
    assert (await holder).text == (await late).text == "ok"


async def test_a_responder_that_comes_later_answers(fleet: Fleet, ask: Requester) -> None:
    """A request that finds nobody is answered by a responder that is started before its deadline."""
    asked = asyncio.create_task(ask.execute("hi", timeout=30))
    await fleet.start("r1", cli=str(fake_cli(fleet.home, "cat >/dev/null; answer late")))
    reply = await asked
    assert reply.text == "late"
    assert reply.attempts > 1


async def test_the_provider_asks_with_what_the_operator_allows(fleet: Fleet, api: StubAPI, ask: Requester) -> None:
    """The provider asks with the far-reaching flag where the operator allows it, after a health check."""
    api.use(Script(rules=(Rule(text="done"),)))
    await fleet.start("r1", CLAUDE_RESPONDER_ALLOW=SKIP)
    args = ["-p", "--print", "--output-format", "json", SKIP]
    provider = requester.ClaudeCLIProvider(ask, args=args)
    await provider.initialize()
    assert "done" in await provider.execute("hi")
    await provider.close()


async def test_health_cheap_and_deep(fleet: Fleet, api: StubAPI, ask: Requester) -> None:
    """The cheap check spends nothing; the deep one runs a prompt, and finds what only a prompt can."""
    await fleet.start("r1")
    cheap = await ask.health()
    assert (cheap.status, cheap.cli_version, cheap.slots, cheap.deep) == ("healthy", "2.1.197", 5, None)
    assert api.statistics().received == 0
    deep = await ask.health(responder="r1", deep=True)
    assert (deep.status, deep.deep) == ("healthy", True)
    api.use(Script(rules=(Rule(status=401),)))
    broken = await ask.health(responder="r1", deep=True)
    assert (broken.status, broken.deep) == ("unhealthy", False)
    assert broken.reason
    assert "auth" in broken.reason


async def test_the_command_prints_the_answer_and_nothing_else(fleet: Fleet, api: StubAPI) -> None:
    """On a pipe `claude-requester` prints the answer alone; its exit status tells an API error."""
    api.use(Script(rules=(Rule(text="the answer", times=1), Rule(status=500))))
    await fleet.start("r1")
    ended = []
    for _ in range(2):
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "requester", "--timeout", "60",
            env={"NATS_URL": fleet.nats_url, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, said = await command.communicate(b"the prompt")
        ended.append((printed.decode(), len(said.splitlines()), command.returncode))
    assert ended == [("the answer\n", 0, 0), ("", 1, 7)]
    assert api.requests[0].prompt == "the prompt"


async def test_check_says_whether_a_responder_would_work(fleet: Fleet) -> None:
    """`claude-responder check` is green where everything is there, and names what is not."""
    results = []
    for changes in ({}, {"ANTHROPIC_API_KEY": ""}, {"NATS_URL": "nats://u:hunter2@127.0.0.1:1"}, {"cli": "/nowhere"}):
        check = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "responder", "check",
            env={**fleet.environment(**changes), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await check.communicate()
        assert b"hunter2" not in printed
        failed = [line.split("│")[1].strip() for line in printed.decode().splitlines() if "FAILED" in line]
        results.append((check.returncode, failed))
    assert results == [(0, []), (1, ["login"]), (1, ["NATS"]), (1, ["CLI"])]
    assert cli_path().is_file()
