"""Every way a real run can end has its own code, leaves no process, and gives its slot back."""

import asyncio
import os
import signal

import pytest

from responder.stub_api import Rule, Script, StubAPI, Tool
from responder.stub_api.script import ErrorStatus
from tests.hop.conftest import Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.responder_process import ResponderProcess

SKIP = "--dangerously-skip-permissions"


@pytest.fixture
async def responder(fleet: Fleet) -> ResponderProcess:
    """One slot, so that the next request proves that it is free again."""
    return await fleet.start("r1", "--slots", "1", CLAUDE_RESPONDER_ALLOW=SKIP)


async def assert_slot_is_free(api: StubAPI, caller: RawCaller, responder: ResponderProcess) -> None:
    """Check that nothing is left of the last run and that the one slot serves again."""
    await responder.wait_until_idle()
    api.use(Script(rules=(Rule(text="served"),)))
    assert "served" in (await caller.succeed(prompt="next")).result


async def test_success_reports_what_the_cli_reported(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A run's reply holds what the CLI printed, its session, tokens and cost."""
    api.use(Script(rules=(Rule(text="hello"),)))
    reply = await caller.succeed(prompt="hi", id="my-request")
    assert reply.id == "my-request"
    assert '"result":"hello"' in reply.result
    assert reply.session_id
    assert reply.usage is not None
    assert reply.usage["output_tokens"] == 20
    assert reply.cost_usd is not None
    assert reply.cost_usd > 0
    assert reply.responder == "r1"
    await responder.wait_until_idle()


# One responder for all: the next of them finds the one slot free. After the last it leaves its queue group for a
# while, and it would after three refused credentials in a row: see test_fitness.py.
API_ERRORS: tuple[tuple[ErrorStatus, str, bool], ...] = (
    (400, "api_error", False),
    (401, "auth", False),
    (404, "api_error", False),
    (403, "auth", False),
    (413, "api_error", False),
    (500, "api_error", True),
    (529, "api_overloaded", True),
    (429, "rate_limited", True),
)


async def test_each_api_error_has_its_code(api: StubAPI, caller: RawCaller, responder: ResponderProcess) -> None:
    """An API error, whose reason is only in the CLI's stdout, becomes its own code with the status."""
    for status, code, retryable in API_ERRORS:
        api.use(Script(rules=(Rule(status=status),)))
        failure = await caller.fail(prompt="hi")
        found = (failure.api_status, failure.code, failure.retryable, failure.executed)
        assert found == (status, code, retryable, True)
        await responder.wait_until_idle()


async def test_a_run_that_waits_for_the_api_is_ended_at_its_deadline(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A hung API, which the CLI never gives up, ends at our deadline."""
    api.use(Script(rules=(Rule(hang=True),)))
    failure = await caller.fail(prompt="hi", timeout=1500)
    assert (failure.code, failure.executed) == ("timeout", True)
    await assert_slot_is_free(api, caller, responder)


async def test_a_run_inside_a_tool_is_ended_with_its_tool(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A tool that runs at the deadline, in a session of its own, is gone when the reply comes."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "sleep 61.5"}), text="done"),)))
    failure = await caller.fail(prompt="hi", args=[SKIP], timeout=4000)
    assert (failure.code, failure.executed) == ("timeout", True)
    assert not responder.descendants()
    await assert_slot_is_free(api, caller, responder)


async def test_a_tools_background_children_are_gone_after_a_success(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A run that ends well can leave daemons behind; none survives it, not even one with a scrubbed environment."""
    command = "setsid sleep 62.5 & (env -i setsid sleep 63.5 &); nohup sleep 64.5 >/dev/null 2>&1 & sleep 0.2; echo ok"
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": command}), text="done"),)))
    assert "done" in (await caller.succeed(prompt="hi", args=[SKIP])).result
    assert not responder.descendants()
    await assert_slot_is_free(api, caller, responder)


async def test_a_cli_killed_by_somebody_else_is_told_apart(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """`kill -9` of the CLI has its own code, and its tool does not outlive it."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "sleep 65.5"}), text="done"),)))
    task = asyncio.create_task(caller.fail(prompt="hi", args=[SKIP]))
    await wait_until(lambda: len(responder.descendants()) > 1, "the tool runs")
    (cli,) = responder.clis()
    os.kill(cli, signal.SIGKILL)
    failure = await task
    assert (failure.code, failure.retryable, failure.executed) == ("cli_killed", True, True)
    assert not responder.descendants()
    await assert_slot_is_free(api, caller, responder)


async def test_a_refused_option_is_the_clis_error(api: StubAPI, caller: RawCaller, responder: ResponderProcess) -> None:
    """What the CLI says on stderr of its own arguments reaches the caller."""
    failure = await caller.fail(prompt="hi", args=["--output-format", "stream-json"])
    assert failure.code == "cli_error"
    assert "--verbose" in failure.error
    await assert_slot_is_free(api, caller, responder)


async def test_max_turns_and_budget_have_their_codes(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A limit the caller set is told apart from a failure, with what was spent."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "true"}), text="done"),)))
    turns = await caller.fail(prompt="hi", args=["--max-turns", "1", SKIP])
    api.use(Script(rules=(Rule(text="hello"),)))
    budget = await caller.fail(prompt="hi", args=["--max-budget-usd", "0.0000001"])
    assert [turns.code, budget.code] == ["max_turns", "budget_exceeded"]
    assert turns.cost_usd
    assert budget.cost_usd
    await assert_slot_is_free(api, caller, responder)


async def test_text_is_what_the_cli_prints_as_text(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """`--output-format text` gives the answer alone, and an API error is an error there too."""
    api.use(Script(rules=(Rule(text="two\nlines", times=1), Rule(status=500))))
    reply = await caller.succeed(prompt="hi", args=["--output-format", "text"])
    assert reply.result == "two\nlines\n"
    assert reply.cost_usd
    assert (await caller.fail(prompt="hi", args=["--output-format", "text"])).code == "api_error"
    await assert_slot_is_free(api, caller, responder)


async def test_stream_json_is_given_whole(api: StubAPI, caller: RawCaller, responder: ResponderProcess) -> None:
    """`--output-format stream-json` gives every event, the result last."""
    api.use(Script(rules=(Rule(text="hello"),)))
    reply = await caller.succeed(prompt="hi", args=["--output-format", "stream-json", "--verbose"])
    lines = reply.result.splitlines()
    assert '"subtype":"init"' in lines[0]
    assert '"type":"result"' in lines[-1]
    assert reply.session_id
    await responder.wait_until_idle()


async def test_not_logged_in_is_auth(fleet: Fleet, caller: RawCaller) -> None:
    """A CLI without a credential is told apart, though the API was never asked."""
    await fleet.start("r1", ANTHROPIC_API_KEY="")
    failure = await caller.fail(prompt="hi")
    assert (failure.code, failure.api_status, failure.executed) == ("auth", None, True)
    assert fleet.api.statistics().received == 0


async def test_a_missing_cli_starts_nothing(fleet: Fleet, caller: RawCaller) -> None:
    """A responder without a CLI says so, and that nothing was executed."""
    cli = fake_cli(fleet.home, "answer ok")
    await fleet.start("r1", cli=str(cli))
    cli.unlink()
    failure = await caller.fail(prompt="hi")
    assert (failure.code, failure.executed) == ("cli_not_found", False)


async def test_output_over_the_limit_is_ended(fleet: Fleet, caller: RawCaller) -> None:
    """A run that prints without end is ended at the limit."""
    cli = fake_cli(fleet.home, "cat >/dev/null; yes")
    responder = await fleet.start("r1", cli=str(cli), CLAUDE_RESPONDER_OUTPUT_MAX_BYTES="100000")
    failure = await caller.fail(prompt="hi")
    assert (failure.code, failure.executed) == ("output_too_large", True)
    assert not responder.descendants()


async def test_a_prompt_that_begins_with_a_slash_reaches_the_model(
    api: StubAPI, caller: RawCaller, responder: ResponderProcess
) -> None:
    """A prompt is never one of the CLI's own commands."""
    api.use(Script(rules=(Rule(text="answered"),)))
    assert "answered" in (await caller.succeed(prompt="/config a=b")).result
    assert api.statistics().received == 1
    await responder.wait_until_idle()
