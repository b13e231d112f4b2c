"""What a CLI can be started for ahead of its request, and which requests have to run cold."""

import pytest

from responder.admission import Job
from responder.arguments import ArgumentPolicy
from responder.standby_arguments import Mold, mold_of, mold_of_arguments

POLICY = ArgumentPolicy(frozenset(("--resume", "--continue", "--fork-session", "--name")))
STREAM = ("--output-format", "stream-json", "--verbose")
SESSION = "d3ce612e-1cce-43e5-81a4-53083dcd62d7"


def mold(*args: str) -> Mold | None:
    return mold_of_arguments(POLICY.arguments(args))


def job(prompt: str = "p", cwd: str | None = None, args: tuple[str, ...] = ()) -> Job:
    return Job("id", prompt, POLICY.arguments(args), cwd, deadline=1.0)


@pytest.mark.parametrize("args", [(), ("-p",), ("--output-format", "json"), ("--output-format", "text")])
def test_what_prints_one_document_is_told_by_its_last_event(args: tuple[str, ...]) -> None:
    """For json, and text, which is run as json, the CLI reads and prints streams of which the result is kept."""
    made = mold(*args)
    assert made is not None
    assert not made.is_stream
    cold = list(POLICY.arguments(args).argv)
    cold[cold.index("json") : cold.index("json") + 1] = ["stream-json", "--verbose", "--input-format", "stream-json"]
    assert made.argv == tuple(cold)


def test_a_stream_is_printed_as_it_is() -> None:
    """For stream-json all events are the output, and the arguments are those of a cold CLI but for the input."""
    made = mold(*STREAM)
    assert made is not None
    assert made.is_stream
    without = [arg for at, arg in enumerate(made.argv) if "--input-format" not in made.argv[max(0, at - 1) : at + 1]]
    assert tuple(without) == POLICY.arguments(STREAM).argv


@pytest.mark.parametrize("args", [(), STREAM, ("--model", "opus"), ("--append-system-prompt", "mcp-config")])
def test_what_several_requests_may_share(args: tuple[str, ...]) -> None:
    """What means the same for each of several requests is for many."""
    made = mold(*args)
    assert made is not None
    assert made.is_for_many


@pytest.mark.parametrize("args", [("--max-budget-usd", "1"), ("--max-budget-usd=1",), ("--fallback-model", "haiku")])
def test_what_one_request_has_alone(args: tuple[str, ...]) -> None:
    """What adds up or remembers is for one request of a process."""
    for form in ((), STREAM):
        made = mold(*form, *args)
        assert made is not None
        assert not made.is_for_many
    assert not Mold(("--mcp-config", "{}"), is_stream=False).is_for_many
    bounded = mold_of_arguments(ArgumentPolicy(max_budget_usd=1.0).arguments(()))
    assert bounded is not None
    assert not bounded.is_for_many


@pytest.mark.parametrize(
    "args",
    [
        ("--output-format", "stream-json"),
        ("--output-format", "json", "--verbose"),
        ("--include-partial-messages",),
        ("--output-format", "text", "--include-partial-messages"),
        ("--session-id", SESSION),
        ("--resume", SESSION),
        ("--continue",),
        ("--resume", SESSION, "--fork-session"),
        ("--name", "a"),
        (*STREAM, "--continue"),
    ],
)
def test_what_only_a_cold_cli_prints(args: tuple[str, ...]) -> None:
    """An error of the command line, an array of all events, or a session that may have grown needs a cold CLI."""
    assert mold(*args) is None


def test_partial_messages_of_a_stream() -> None:
    """Partial messages belong to a stream, which can be started ahead."""
    assert mold(*STREAM, "--include-partial-messages") is not None


def test_the_callers_flags_are_part_of_it() -> None:
    """Requests share a process only if all of their arguments are the same."""
    assert mold("--model", "opus") == mold("--model=opus") != mold("--model", "sonnet")
    made = mold("--model", "opus", "--append-system-prompt", "be short")
    assert made is not None
    assert made.argv[6:10] == ("--model", "opus", "--append-system-prompt", "be short")


def test_text_and_json_share_a_process() -> None:
    """What is printed is the same for both; text is taken out of it afterwards."""
    assert mold("--output-format", "text") == mold("--output-format", "json") == mold()


@pytest.mark.parametrize(
    ("prompt", "cwd", "can_wait"),
    [
        ("p", None, True),
        ("\n/help", None, True),
        ("p", "repo", False),
        ("p", ".", False),
        ("", None, False),
        (" \n\t", None, False),
        (" \ufeff\u2028", None, False),
        ("\ufeffp", None, True),
    ],
)
def test_which_jobs_can_be_served(prompt: str, cwd: str | None, can_wait: bool) -> None:
    """A job with a directory of its own, or no prompt, runs cold; every other goes by its arguments."""
    assert mold_of(job(prompt, cwd)) == (mold() if can_wait else None)


def test_a_job_that_has_to_run_cold_by_its_arguments() -> None:
    """Arguments that need a cold CLI need it for each job."""
    assert mold_of(job(args=("--continue",))) is None
