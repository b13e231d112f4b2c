"""Replies: from an outcome, from a refusal, and cut to what NATS carries."""

import time

import pytest

from contract import CODE_FACTS, ErrorCode, ExecuteFailure, ExecuteSuccess, message_size, parse_reply
from responder.answers import Answers
from responder.document import Document
from responder.outcome import Failure, Success

SECRET = "hunter2-hunter2"
ANSWERS = Answers("r1", (SECRET,))
DOCUMENT = Document(session_id="s", usage={"input_tokens": 3}, cost_usd=0.5, num_turns=2)


def test_a_success_carries_what_the_run_used() -> None:
    """A successful run's reply has the printed text, the times in milliseconds and the CLI's account."""
    reply = ANSWERS.outcome("id1", Success(f"text {SECRET}", DOCUMENT), "prompt", 1.2344, 0.0006)
    assert reply == ExecuteSuccess(
        id="id1",
        result=f"text {SECRET}",
        responder="r1",
        execution_time_ms=1234,
        wait_ms=1,
        session_id="s",
        usage={"input_tokens": 3},
        cost_usd=0.5,
        num_turns=2,
    )


def test_a_failure_carries_everything_it_knows() -> None:
    """A failed run's reply has our message, the redacted detail, the flags and what was used."""
    failure = Failure(
        ErrorCode.API_ERROR,
        "the API answered with status 418",
        detail=f"launchcode\n{SECRET} rest",
        retryable=False,
        api_status=418,
        document=DOCUMENT,
    )
    reply = ANSWERS.outcome("id1", failure, "the launchcode", 1, 2)
    assert isinstance(reply, ExecuteFailure)
    assert reply.error == "the API answered with status 418: *** *** rest"
    assert (reply.code, reply.retryable, reply.executed, reply.api_status) == ("api_error", False, True, 418)
    assert (reply.cost_usd, reply.session_id, reply.wait_ms, reply.execution_time_ms) == (0.5, "s", 2000, 1000)
    assert reply.retry_after_ms is None


@pytest.mark.parametrize("detail", ["", " \n\t"])
def test_without_a_detail_the_message_stands_alone(detail: str) -> None:
    """A failure about which the CLI said nothing ends with our message, without a colon."""
    reply = ANSWERS.outcome("i", Failure(ErrorCode.CLI_ERROR, "it failed", detail=detail), "", 0, 0)
    assert isinstance(reply, ExecuteFailure)
    assert reply.error == "it failed"


def test_an_account_that_is_missing_is_no_account() -> None:
    """A run without a document has no session, no usage and no cost, rather than zeros."""
    reply = ANSWERS.outcome("i", Failure(ErrorCode.CLI_KILLED, "killed"), "", 0, 0)
    assert (reply.session_id, reply.usage, reply.cost_usd, reply.num_turns) == (None, None, None, None)


def test_the_end_of_a_limit_becomes_a_wait() -> None:
    """An end in the future is told as milliseconds from now, one in the past as zero."""
    ahead = Failure(ErrorCode.RATE_LIMITED, "limited", limit_resets_at=time.time() + 60)
    behind = Failure(ErrorCode.RATE_LIMITED, "limited", limit_resets_at=time.time() - 60)
    waits = [ANSWERS.outcome("i", failure, "", 0, 0) for failure in (ahead, behind)]
    assert all(isinstance(reply, ExecuteFailure) for reply in waits)
    first, second = (reply.retry_after_ms for reply in waits if isinstance(reply, ExecuteFailure))
    assert first is not None
    assert 50_000 < first <= 60_000
    assert second == 0


@pytest.mark.parametrize("resets_at", [float("inf"), float("nan"), 9_999_999_999.0, 1e300])
def test_an_end_that_cannot_be_true_is_no_wait(resets_at: float) -> None:
    """A limit that would last for years is a limit without an end."""
    reply = ANSWERS.outcome("i", Failure(ErrorCode.RATE_LIMITED, "limited", limit_resets_at=resets_at), "", 0, 0)
    assert isinstance(reply, ExecuteFailure)
    assert reply.retry_after_ms is None


def test_all_that_the_caller_wrote_is_masked() -> None:
    """Of several private texts each is masked, and one may be given alone."""
    failure = Failure(ErrorCode.CLI_ERROR, "it failed", detail="launchcode hideaway doorstep")
    replies = [
        ANSWERS.outcome("i", failure, private, 0, 0)
        for private in (("a launchcode", "a hideaway", "a doorstep"), "launchcode, hideaway, doorstep")
    ]
    assert all(isinstance(reply, ExecuteFailure) and reply.error == "it failed: *** *** ***" for reply in replies)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_refusal_has_not_run(code: ErrorCode) -> None:
    """A refusal says that nothing was executed, and whether to try again is what the table says."""
    reply = ANSWERS.refusal("i", code, "no", retry_after_ms=5, wait_s=0.5)
    assert (reply.id, reply.code, reply.error, reply.executed) == ("i", code, "no", False)
    assert reply.retryable is CODE_FACTS[code].retryable
    assert (reply.retry_after_ms, reply.wait_ms, reply.responder) == (5, 500, "r1")


def test_a_refusal_without_an_id() -> None:
    """A request that could not be read is answered without an id."""
    assert ANSWERS.refusal(None, ErrorCode.INVALID_REQUEST, "no").id is None


@pytest.mark.parametrize("over", [0, 1])
def test_a_reply_at_the_servers_limit(over: int) -> None:
    """A reply that is exactly as large as NATS carries is sent, one byte more becomes a failure with both sizes."""
    reply = ExecuteSuccess(id="i", result="x" * 5000, responder="r1", session_id="s", cost_usd=0.5, wait_ms=3)
    size = message_size(reply.headers(), reply.to_bytes())
    fitting = ANSWERS.fitting(reply, size - over)
    if not over:
        assert fitting is reply
        return
    assert isinstance(fitting, ExecuteFailure)
    assert fitting.code == ErrorCode.OUTPUT_TOO_LARGE
    assert f"{size} bytes" in fitting.error
    assert f"max_payload here is {size - 1}" in fitting.error
    assert (fitting.id, fitting.responder, fitting.session_id, fitting.cost_usd) == ("i", "r1", "s", 0.5)
    assert (fitting.executed, fitting.retryable, fitting.wait_ms) == (True, False, 3)
    assert message_size(fitting.headers(), fitting.to_bytes()) < size
    assert parse_reply(fitting.to_bytes()) == fitting


def test_the_headers_count() -> None:
    """A failure that fits by its body alone, and not with its headers, is larger than NATS carries."""
    reply = ANSWERS.outcome("i", Failure(ErrorCode.CLI_ERROR, "m" * 3000), "", 0, 0)
    body = len(reply.to_bytes())
    assert ANSWERS.fitting(reply, message_size(reply.headers(), reply.to_bytes())) is reply
    assert ANSWERS.fitting(reply, body) is not reply


def test_sizes_are_those_of_the_wire() -> None:
    """What counts is the JSON with its escapes, not the length of the text."""
    reply = ExecuteSuccess(id="i", result='"\n\u00e9' * 1000, responder="r1")
    assert ANSWERS.fitting(reply, 4000) is not reply


def test_a_repr_shows_no_secret() -> None:
    """The secrets that replies are cleaned of are not in the repr."""
    assert SECRET not in repr(ANSWERS)


LARGE = ExecuteFailure(
    id="i",
    error="e" * 2000,
    code=ErrorCode.RATE_LIMITED,
    retryable=True,
    executed=True,
    responder="r1",
    usage={"a": "x" * 4000},
    cost_usd=0.5,
    retry_after_ms=7,
)


@pytest.mark.parametrize(
    ("max_payload", "usage", "error"),
    [(10_000, LARGE.usage, LARGE.error), (5_000, None, LARGE.error), (2_000, None, f"{'e' * 160}…")],
)
def test_a_failure_that_is_too_large_stays_what_it_is(max_payload: int, usage: object, error: str) -> None:
    """A failure loses its usage first and its detail next, and keeps its code and all that says what to do."""
    fitting = ANSWERS.fitting(LARGE, max_payload)
    assert isinstance(fitting, ExecuteFailure)
    assert (fitting.usage, fitting.error) == (usage, error)
    assert (fitting.code, fitting.retryable, fitting.executed, fitting.retry_after_ms) == (
        "rate_limited",
        True,
        True,
        7,
    )
    assert (fitting.id, fitting.cost_usd) == ("i", 0.5)
    assert message_size(fitting.headers(), fitting.to_bytes()) <= max_payload
    assert parse_reply(fitting.to_bytes()) == fitting
