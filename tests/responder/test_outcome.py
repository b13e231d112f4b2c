"""What a run means: a row for each shape that was observed."""

import json
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract import CODE_FACTS, ErrorCode
from responder.outcome import Failure, Success, classify
from responder.run import Observation, StopReason
from tests.responder.printed import ASSISTANT, INIT, RESULT, api_error, as_array, as_json, as_lines, result

CANARY = "canary-5f1c9"
EPOCH = 1_800_000_000
DEEP = b"[" * 200_000
OVERLOADED = b'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'


def seen(stdout: bytes = b"", exit_status: int | None = 0, **more: Any) -> Observation:
    return Observation(stdout=stdout, exit_status=exit_status, **more)


def failed(status: int | None, text: str) -> Observation:
    """Give what an API error looks like: status 1, an empty stderr, the reason in stdout alone."""
    return seen(as_json(api_error(status, text)), 1)


@dataclass(frozen=True)
class Row:
    """One observed shape, and what it means."""

    name: str
    seen: Observation
    code: ErrorCode
    more: dict[str, Any] = field(default_factory=dict)


def stopped(reason: StopReason, stdout: bytes = b"", exit_status: int = 0, stderr: bytes = b"") -> Observation:
    return seen(stdout, exit_status, stop_reason=reason, stderr=stderr)


LIMIT_EVENT = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": EPOCH}}
CUT = as_json(RESULT)[:-40]
ROWS = [
    # The API, as the CLI reports it.
    Row("400", failed(400, "API Error: 400 bad"), ErrorCode.API_ERROR, {"api_status": 400, "retryable": False}),
    Row("401", failed(401, "API Error: 401"), ErrorCode.AUTH, {"api_status": 401, "retryable": False}),
    Row("402", failed(402, "API Error: 402"), ErrorCode.API_ERROR, {"api_status": 402, "retryable": False}),
    Row("403", failed(403, "API Error: 403"), ErrorCode.AUTH, {"api_status": 403, "retryable": False}),
    Row("404", failed(404, "API Error: 404"), ErrorCode.API_ERROR, {"api_status": 404, "retryable": False}),
    Row("408", failed(408, "API Error: 408"), ErrorCode.API_ERROR, {"api_status": 408, "retryable": True}),
    Row("413", failed(413, "Request too large"), ErrorCode.API_ERROR, {"api_status": 413, "retryable": False}),
    Row("429", failed(429, "API Error: 429"), ErrorCode.RATE_LIMITED, {"api_status": 429, "limit_resets_at": None}),
    Row("500", failed(500, "API Error: 500"), ErrorCode.API_ERROR, {"api_status": 500, "retryable": True}),
    Row("502", failed(502, "API Error: 502"), ErrorCode.API_ERROR, {"api_status": 502, "retryable": True}),
    Row("529", failed(529, "API Error: 529"), ErrorCode.API_OVERLOADED, {"api_status": 529, "retryable": True}),
    Row("API error at status 0", seen(as_json(api_error(500, "x")), 0), ErrorCode.API_ERROR, {"api_status": 500}),
    Row("429 until", failed(429, f"limit reached|{EPOCH}"), ErrorCode.RATE_LIMITED, {"limit_resets_at": EPOCH}),
    Row(
        "429 until, in an event",
        seen(as_lines(INIT, LIMIT_EVENT, api_error(429, "API Error: 429")), 1),
        ErrorCode.RATE_LIMITED,
        {"limit_resets_at": EPOCH},
    ),
    Row("500 with a limit event", seen(as_lines(LIMIT_EVENT, api_error(500, "x")), 1), ErrorCode.API_ERROR),
    # The CLI's own words, where it gives no status.
    Row("not logged in", failed(None, "Not logged in · Please run /login"), ErrorCode.AUTH, {"api_status": None}),
    Row("invalid key", failed(None, "Invalid API key · Fix external API key"), ErrorCode.AUTH),
    Row("OAuth token", failed(None, "OAuth token revoked · Please run /login"), ErrorCode.AUTH),
    Row("repeated 529", failed(None, "API Error: Repeated 529 Overloaded errors"), ErrorCode.API_OVERLOADED),
    Row("overloaded_error", failed(None, OVERLOADED.decode()), ErrorCode.API_OVERLOADED),
    Row("connection lost", failed(None, "API Error: Connection error."), ErrorCode.API_ERROR, {"retryable": True}),
    Row("broken off", failed(None, "API Error: terminated"), ErrorCode.API_ERROR, {"api_status": None}),
    Row("usage limit", failed(None, f"Claude AI usage limit reached|{EPOCH}"), ErrorCode.RATE_LIMITED),
    Row(
        "usage limit until",
        failed(None, f"Claude AI usage limit reached|{EPOCH}"),
        ErrorCode.RATE_LIMITED,
        {"limit_resets_at": EPOCH, "retryable": True},
    ),
    Row("weekly limit", failed(None, "You've hit your weekly limit · resets Friday"), ErrorCode.RATE_LIMITED),
    Row("unknown words", failed(None, f"{CANARY} words"), ErrorCode.CLI_ERROR, {"detail": "", "retryable": False}),
    Row("words of an answer", failed(None, "They said: Not logged in"), ErrorCode.CLI_ERROR),
    # Turns that were cut short.
    Row("max turns", seen(as_json(result(is_error=True, subtype="error_max_turns")), 1), ErrorCode.MAX_TURNS),
    Row("budget", seen(as_json(result(is_error=True, subtype="error_max_budget_usd")), 1), ErrorCode.BUDGET_EXCEEDED),
    Row("max turns without is_error", seen(as_json(result(subtype="error_max_turns"))), ErrorCode.MAX_TURNS),
    Row("budget without is_error", seen(as_json(result(subtype="error_max_budget_usd"))), ErrorCode.BUDGET_EXCEEDED),
    Row(
        "another error without is_error",
        seen(as_json(result(subtype="error_during_execution"))),
        ErrorCode.CLI_ERROR,
        {"message": "the CLI reports an error (error_during_execution)"},
    ),
    Row("errors that are none", seen(as_json(result(is_error=True, result=None, errors=5)), 1), ErrorCode.CLI_ERROR),
    Row(
        "during execution",
        seen(as_json(result(is_error=True, subtype="error_during_execution", result=None, errors=["x"])), 1),
        ErrorCode.CLI_ERROR,
        {"message": "the CLI reports an error (error_during_execution)"},
    ),
    Row(
        "overloaded during execution",
        seen(as_json(result(is_error=True, subtype="error_during_execution", result=None, errors=["Repeated 529"])), 1),
        ErrorCode.API_OVERLOADED,
    ),
    Row(
        "a subtype that could be anything",
        seen(as_json(result(is_error=True, subtype="error_x: anything\n")), 1),
        ErrorCode.CLI_ERROR,
        {"message": "the CLI reports an error (no reason)"},
    ),
    # Nothing, or not what was promised.
    Row("nothing", seen(), ErrorCode.OUTPUT_INVALID, {"retryable": True, "executed": True}),
    Row("blanks", seen(b" \n\t"), ErrorCode.OUTPUT_INVALID),
    Row("garbage", seen(b"hello"), ErrorCode.OUTPUT_INVALID),
    Row("cut", seen(CUT), ErrorCode.OUTPUT_INVALID),
    Row("cut lines", seen(as_lines(INIT, ASSISTANT) + CUT), ErrorCode.OUTPUT_INVALID),
    Row("cut array", seen(as_array(INIT, RESULT)[:-2]), ErrorCode.OUTPUT_INVALID),
    Row("events without a result", seen(as_lines(INIT, ASSISTANT)), ErrorCode.OUTPUT_INVALID),
    Row("bad UTF-8", seen(as_json(RESULT)[:-3] + b"\xff}\n"), ErrorCode.OUTPUT_INVALID),
    Row("UTF-8 cut", seen(as_json(result(result="\u00e9")).replace(b"\xc3\xa9", b"\xc3")), ErrorCode.OUTPUT_INVALID),
    Row("UTF-16", seen(json.dumps(RESULT).encode("utf-16")), ErrorCode.OUTPUT_INVALID),
    Row("huge nesting", seen(DEEP), ErrorCode.OUTPUT_INVALID),
    Row("huge nesting, closed", seen(b"[" * 50_000 + b"]" * 50_000), ErrorCode.OUTPUT_INVALID),
    Row("no is_error", seen(as_json(result(is_error=None))), ErrorCode.OUTPUT_INVALID),
    Row("no answer", seen(as_json(result(result=None))), ErrorCode.OUTPUT_INVALID, {"retryable": True}),
    Row("an answer that is no text", seen(as_json(result(result={"a": 1}))), ErrorCode.OUTPUT_INVALID),
    Row("a null for an answer", seen(as_json(result(result=None, structured_output=None))), ErrorCode.OUTPUT_INVALID),
    Row("an error after a warning", seen(b"warning\n" + as_json(api_error(401, "x")), 1), ErrorCode.AUTH),
    Row("status 0 and a reason on stderr", seen(stderr=b"oops"), ErrorCode.OUTPUT_INVALID, {"detail": "oops"}),
    # Ends that are not good, whatever was printed.
    Row("status 1", seen(exit_status=1), ErrorCode.CLI_ERROR, {"message": "the CLI ended with status 1"}),
    Row(
        "unknown option",
        seen(exit_status=1, stderr=b"error: unknown option '--x'\n"),
        ErrorCode.CLI_ERROR,
        {"detail": "error: unknown option '--x'", "retryable": False},
    ),
    Row("stderr is no text", seen(exit_status=1, stderr=b"\xff\xfe"), ErrorCode.CLI_ERROR, {"detail": "\ufffd\ufffd"}),
    Row("success, status 1", seen(as_json(RESULT), 1), ErrorCode.CLI_ERROR, {"executed": True}),
    Row("success, status 3", seen(as_json(RESULT), 3, stderr=b"why"), ErrorCode.CLI_ERROR, {"detail": "why"}),
    Row("success, then killed", seen(as_json(RESULT), -9), ErrorCode.CLI_KILLED),
    Row("status 126 of its own", seen(exit_status=126, stderr=b"sh: no"), ErrorCode.CLI_ERROR),
    Row("status 127 of its own", seen(exit_status=127, stderr=b"sh: not found"), ErrorCode.CLI_ERROR),
    # Killed, and not by us.
    Row("-9", seen(exit_status=-9), ErrorCode.CLI_KILLED, {"retryable": True, "executed": True}),
    Row("137", seen(exit_status=137), ErrorCode.CLI_KILLED),
    Row("-15", seen(exit_status=-15), ErrorCode.CLI_KILLED),
    Row("143", seen(exit_status=143), ErrorCode.CLI_KILLED),
    Row("-2", seen(exit_status=-2), ErrorCode.CLI_KILLED),
    Row("130", seen(exit_status=130), ErrorCode.CLI_KILLED),
    Row("-11", seen(exit_status=-11), ErrorCode.CLI_KILLED),
    Row("134", seen(exit_status=134), ErrorCode.CLI_KILLED),
    Row("137 with cut output", seen(CUT, 137), ErrorCode.CLI_KILLED),
    Row("255 is no signal", seen(exit_status=255), ErrorCode.CLI_ERROR),
    Row("128 is no signal", seen(exit_status=128), ErrorCode.CLI_ERROR),
    Row("an API error, then killed", seen(as_json(api_error(429, "x")), -9), ErrorCode.RATE_LIMITED),
    # Ended by us: the exit status and the document cannot change that.
    Row("deadline", stopped(StopReason.DEADLINE, exit_status=-9), ErrorCode.TIMEOUT, {"executed": True}),
    Row("deadline, yet success", stopped(StopReason.DEADLINE, as_json(RESULT)), ErrorCode.TIMEOUT),
    Row("deadline, status 0, empty", stopped(StopReason.DEADLINE), ErrorCode.TIMEOUT),
    Row("deadline, API error", stopped(StopReason.DEADLINE, as_json(api_error(401, "x")), 1), ErrorCode.TIMEOUT),
    Row("deadline, garbage", stopped(StopReason.DEADLINE, b"\xff", 143), ErrorCode.TIMEOUT),
    Row("stopped", stopped(StopReason.RESPONDER_STOPPED, exit_status=-9), ErrorCode.RESPONDER_STOPPED),
    Row("stopped, yet success", stopped(StopReason.RESPONDER_STOPPED, as_json(RESULT)), ErrorCode.RESPONDER_STOPPED),
    Row(
        "cancelled",
        stopped(StopReason.CANCELLED, exit_status=-2),
        ErrorCode.CANCELLED,
        {"executed": True, "retryable": True},
    ),
    Row("cancelled, yet success", stopped(StopReason.CANCELLED, as_json(RESULT)), ErrorCode.CANCELLED),
    Row("too much", stopped(StopReason.OUTPUT_TOO_LARGE, b"x" * 9, -2), ErrorCode.OUTPUT_TOO_LARGE),
    Row("too much, yet success", stopped(StopReason.OUTPUT_TOO_LARGE, as_json(RESULT)), ErrorCode.OUTPUT_TOO_LARGE),
    # Never started.
    Row("not found", Observation(not_found=True), ErrorCode.CLI_NOT_FOUND, {"executed": False, "retryable": False}),
    Row(
        "start failed",
        Observation(start_error="Cannot allocate memory"),
        ErrorCode.CLI_START_FAILED,
        {"executed": False, "retryable": True, "message": "the CLI could not be started: Cannot allocate memory"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
@pytest.mark.parametrize("output_format", ["json", "stream-json", "text"])
def test_failures(row: Row, output_format: str) -> None:
    """Each observed shape has its code, whichever format the caller asked for."""
    outcome = classify(row.seen, output_format)
    assert isinstance(outcome, Failure)
    assert outcome.code is row.code
    assert {name: getattr(outcome, name) for name in row.more} == row.more


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_failure_speaks_in_our_words(row: Row) -> None:
    """The message is one line of ours, and what the CLI said stands in the detail alone, which is not in the repr."""
    outcome = classify(row.seen, "json")
    assert isinstance(outcome, Failure)
    assert outcome.message.isprintable()
    assert CANARY not in outcome.message
    assert outcome.detail not in outcome.message or not outcome.detail
    assert CANARY not in repr(outcome)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_failure_agrees_with_the_table_of_codes(row: Row) -> None:
    """What the table of codes says for certain, every failure says too."""
    outcome = classify(row.seen, "json")
    assert isinstance(outcome, Failure)
    facts = CODE_FACTS[outcome.code]
    assert facts.executed in {None, outcome.executed}
    if outcome.code is not ErrorCode.API_ERROR:
        assert outcome.retryable is facts.retryable


@pytest.mark.parametrize(
    ("printed", "output_format"),
    [
        (as_json(RESULT), "json"),
        (as_array(INIT, ASSISTANT, RESULT), "json"),
        (as_lines(INIT, ASSISTANT, RESULT), "stream-json"),
        (as_lines(INIT, ASSISTANT, RESULT) + b'{"type":"syst', "stream-json"),
        (as_json(result(result="\u00e9\U0001f600\u2028")), "json"),
        (as_lines(INIT, result(result="\x85\u2028")), "stream-json"),
        (as_json(result(result="")), "json"),
        (as_json(result(result=None, structured_output={"a": 1})), "json"),
        (as_json(result(result="x" * 5_000_000)), "json"),
    ],
)
def test_a_success_is_what_was_printed(printed: bytes, output_format: str) -> None:
    """A run that ended with status 0 and a whole document is a success, printed to the byte."""
    outcome = classify(seen(printed, stderr=b"a warning"), output_format)
    assert isinstance(outcome, Success)
    assert outcome.printed.encode() == printed
    assert outcome.document.session_id == RESULT["session_id"]


@pytest.mark.parametrize(
    ("answer", "text"), [("hi", "hi\n"), ("hi\n", "hi\n"), ("", "\n"), ("a\nb", "a\nb\n"), ("\n\n", "\n\n")]
)
def test_text_is_the_answer_alone(answer: str, text: str) -> None:
    """Asked for text, the caller gets the answer as the CLI prints it, with one newline at its end."""
    outcome = classify(seen(as_json(result(result=answer))), "text")
    assert isinstance(outcome, Success)
    assert outcome.printed == text


@pytest.mark.parametrize("reason", StopReason)
def test_what_a_stopped_run_has_used_is_kept(reason: StopReason) -> None:
    """A run that we ended may have printed its account: its cost is not lost."""
    outcome = classify(stopped(reason, as_json(RESULT)), "json")
    assert outcome.document is not None
    assert outcome.document.cost_usd == RESULT["total_cost_usd"]


def test_every_reason_to_stop_has_its_code() -> None:
    """The reasons for which we end a run are told apart."""
    outcomes = [classify(stopped(reason), "json") for reason in StopReason]
    assert len({outcome.code for outcome in outcomes if isinstance(outcome, Failure)}) == len(StopReason)


def test_a_killing_signal_is_named() -> None:
    """Who reads the error sees which signal it was."""
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        outcome = classify(seen(exit_status=-number), "json")
        assert isinstance(outcome, Failure)
        assert number.name in outcome.message


def test_a_successs_repr_shows_no_answer() -> None:
    """What the CLI answered is not in the repr."""
    assert CANARY not in repr(classify(seen(as_json(result(result=CANARY))), "json"))


@pytest.mark.parametrize("output_format", ["json", "text"])
@pytest.mark.parametrize(
    "printed",
    [
        b"warning: something\n" + as_json(RESULT),
        as_json(RESULT) + b"junk",
        as_json(RESULT) + as_json(RESULT),
        as_lines(INIT, RESULT),
        as_json(RESULT).replace(b"0.25", b"NaN"),
    ],
)
def test_output_that_is_no_json_is_no_success_of_json(printed: bytes, output_format: str) -> None:
    """Who asked for JSON gets all of the output as JSON or a failure, which keeps what the run has used."""
    outcome = classify(seen(printed, stderr=b"why"), output_format)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable, outcome.detail) == (ErrorCode.OUTPUT_INVALID, True, "why")
    assert outcome.document is not None
    assert outcome.document.session_id == RESULT["session_id"]


def test_lines_may_hold_more_than_events() -> None:
    """Among the lines of a stream a warning does no harm: each line is read for itself."""
    printed = b"warning: something\n" + as_lines(INIT, RESULT)
    outcome = classify(seen(printed), "stream-json")
    assert isinstance(outcome, Success)
    assert outcome.printed.encode() == printed


def test_half_a_character_does_not_break_a_text() -> None:
    """An answer with half a surrogate pair, given as text, can be sent."""
    outcome = classify(seen(as_json(result(result="#")).replace(b"#", b"\\ud83d")), "text")
    assert isinstance(outcome, Success)
    assert outcome.printed.encode().decode() == "\ufffd\n"


@pytest.mark.parametrize(
    ("stderr", "detail"),
    [
        (b"half-a-secret and more".ljust(16 * 1024, b"."), "and more..."),
        (b"x" * 16 * 1024, ""),
        (b"half-a-secret and more", "half-a-secret and more"),
    ],
)
def test_the_end_of_a_long_stderr_begins_with_a_whole_word(stderr: bytes, detail: str) -> None:
    """Where only the end of stderr was kept, what it begins with may be the rest of a secret, and is left out."""
    outcome = classify(seen(exit_status=1, stderr=stderr), "json")
    assert isinstance(outcome, Failure)
    assert outcome.detail.startswith(detail)
    assert ("half-a-secret" in outcome.detail) is ("half-a-secret" in detail)
    assert bool(outcome.detail) is bool(detail)


@pytest.mark.parametrize("number", [3, 4, 5, 6, 8, 9, 11, 15, 24, 31, 40])
def test_any_signal_is_a_kill(number: int) -> None:
    """Whatever signal ends the CLI, and nobody of ours sent it, it is told as killed, and may be tried again."""
    outcome = classify(Observation(exit_status=-number), "json")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable, outcome.executed) == (ErrorCode.CLI_KILLED, True, True)
