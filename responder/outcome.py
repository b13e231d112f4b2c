"""What a run means: one pure function from what was seen to success, or to a code and one line.

The CLI's exit status and its `subtype` cannot be believed (measured on CLI 2.1.197): an API error comes as status 1
with an empty stderr and `subtype: "success"`, its reason only in stdout; a CLI stopped by SIGTERM may exit with 0 and
a result; status 0 with nothing printed happens too. So: first what we did ourselves, then `is_error`, an `error_…`
subtype and `api_error_status` of the document, then the exit status, then whether the output is what its format
promises, then stderr.
"""

import re
import signal
from dataclasses import dataclass, field

from contract import CODE_FACTS, ErrorCode
from responder.document import Document, read_document
from responder.run import Observation, RunLimits, StopReason

_SIGNAL_BASE = 128
_LINES = "stream-json"
_FAILED_SUBTYPE = "error_"
_HTTP_SERVER_ERROR = 500
_RETRYABLE_CLIENT_ERRORS = (408, 409)
_KILLING_SIGNALS = frozenset(
    (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
)
_BY_SUBTYPE = {
    "error_max_turns": (ErrorCode.MAX_TURNS, "the run reached its maximum number of turns"),
    "error_max_budget_usd": (ErrorCode.BUDGET_EXCEEDED, "the run reached its budget"),
}
_BY_STATUS = {
    401: (ErrorCode.AUTH, "the API refused the responder's credential (401)"),
    403: (ErrorCode.AUTH, "the API refused the responder's credential (403)"),
    429: (ErrorCode.RATE_LIMITED, "the API limits the responder's credential (429)"),
    529: (ErrorCode.API_OVERLOADED, "the API is overloaded (529)"),
}
# Where the CLI gives no status.
_BY_TEXT = (
    (
        re.compile(r"^(Not logged in|Invalid API key|OAuth token|Failed to authenticate)", re.IGNORECASE),
        ErrorCode.AUTH,
        "the CLI is not logged in",
    ),
    (
        re.compile(r"^(Claude (AI )?usage limit|You've hit your .*limit)", re.IGNORECASE),
        ErrorCode.RATE_LIMITED,
        "the API limits the responder's credential",
    ),
    (re.compile(r"Repeated 529|overloaded_error", re.IGNORECASE), ErrorCode.API_OVERLOADED, "the API is overloaded"),
    (re.compile(r"^API Error: ", re.IGNORECASE), ErrorCode.API_ERROR, "the API could not be reached or broke off"),
)
_LIMIT_UNTIL = re.compile(r"\|(\d{10})$")


@dataclass(frozen=True)
class Success:
    """A run that ended well.

    Attributes:
        printed: What the CLI printed, to the byte.
        document: Its account of the run.
    """

    printed: str = field(repr=False)
    document: Document


@dataclass(frozen=True)
class Failure:
    """A run that gave no result.

    Attributes:
        code: What happened.
        message: One line of ours, without anything the CLI said.
        detail: What the CLI or the API said of it, to be redacted before anybody sees it.
        retryable: Whether the same request may well succeed later.
        executed: Whether the CLI was started.
        api_status: HTTP status with which the API refused.
        limit_resets_at: When a rate limit ends, in seconds since the epoch.
        document: The CLI's account of the run, if it gave one.
    """

    code: ErrorCode
    message: str
    detail: str = field(default="", repr=False)
    retryable: bool = False
    executed: bool = True
    api_status: int | None = None
    limit_resets_at: float | None = None
    document: Document | None = None


def classify(seen: Observation, output_format: str) -> Success | Failure:
    """Say what a run means.

    Args:
        seen: What was seen of it.
        output_format: What the caller asked for: `json`, `stream-json`, or `text`, which is run as `json`.

    Returns:
        A success only when the CLI ended by itself, with status 0 and a whole document that is no error.
    """
    if seen.exit_status is None:
        return _not_started(seen)
    try:
        printed = seen.stdout.decode()
    except UnicodeDecodeError:
        printed = ""
    document = read_document(printed)
    if seen.stop_reason is not None:
        return _stopped(seen.stop_reason, document)
    if document is None:
        return _without_document(seen)
    return _failure_with_document(seen, document, output_format) or Success(
        _as_text(document.result) if output_format == "text" else printed, document
    )


def _failure_with_document(seen: Observation, document: Document, output_format: str) -> Failure | None:
    if document.is_error or document.subtype.startswith(_FAILED_SUBTYPE):
        return _reported_error(document)
    if seen.exit_status != 0:
        return _ended_badly(seen, document)
    if not document.has_answer or not (document.is_alone or output_format == _LINES):
        return _invalid(seen, "no whole result", document)
    return None


def _as_text(answer: str) -> str:
    """Give an answer as `--output-format text` prints it: ended by a newline, which is not doubled."""
    return answer if answer.endswith("\n") else f"{answer}\n"


def _failure(code: ErrorCode, message: str, **more: object) -> Failure:
    facts = CODE_FACTS[code]
    given = {"retryable": facts.retryable, "executed": facts.executed is not False, **more}
    return Failure(code, message, **given)  # type: ignore[arg-type] # the keys are Failure's own


def _not_started(seen: Observation) -> Failure:
    if seen.not_found:
        return _failure(ErrorCode.CLI_NOT_FOUND, "the CLI is not installed on this responder")
    return _failure(ErrorCode.CLI_START_FAILED, f"the CLI could not be started: {seen.start_error}")


def _stopped(reason: StopReason, document: Document | None) -> Failure:
    code, message = {
        StopReason.DEADLINE: (ErrorCode.TIMEOUT, "the deadline passed during the run, which was ended"),
        StopReason.OUTPUT_TOO_LARGE: (ErrorCode.OUTPUT_TOO_LARGE, "the run printed more than the limit and was ended"),
        StopReason.CANCELLED: (ErrorCode.CANCELLED, "the run was ended because nobody awaited it any more"),
        StopReason.RESPONDER_STOPPED: (ErrorCode.RESPONDER_STOPPED, "the responder was stopped during the run"),
    }[reason]
    return _failure(code, message, document=document)


def _without_document(seen: Observation) -> Failure:
    if seen.exit_status != 0:
        return _ended_badly(seen, None)
    return _invalid(seen, "no whole result" if seen.stdout.strip() else "nothing", None)


def _invalid(seen: Observation, printed: str, document: Document | None) -> Failure:
    message = f"the CLI ended with status 0 and printed {printed}"
    return _failure(ErrorCode.OUTPUT_INVALID, message, detail=_said(seen), document=document)


def _said(seen: Observation) -> str:
    """Give what stands on stderr; its first word not where only the end was kept: it may be the rest of a secret."""
    text = seen.stderr.decode(errors="replace")
    if len(seen.stderr) >= RunLimits.stderr_kept_bytes:
        text = "".join(text.split(maxsplit=1)[1:])
    return text.strip()


def _ended_badly(seen: Observation, document: Document | None) -> Failure:
    status = seen.exit_status or 0
    # A shell around the CLI tells a signal as 128 and its number.
    number = -status if status < 0 else status - _SIGNAL_BASE
    if status < 0 or number in _KILLING_SIGNALS:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return _failure(ErrorCode.CLI_KILLED, f"the CLI was killed by {name}, not by the responder", document=document)
    message = f"the CLI ended with status {status}"
    return _failure(ErrorCode.CLI_ERROR, message, detail=_said(seen), document=document)


def _reported_error(document: Document) -> Failure:
    if (by_subtype := _BY_SUBTYPE.get(document.subtype)) is not None:
        return _failure(*by_subtype, document=document)
    text = document.result or " ".join(document.errors)
    if document.api_status is not None:
        return _api_error(document, document.api_status, text)
    for pattern, code, message in _BY_TEXT:
        if pattern.search(text):
            resets_at = _limit_resets_at(document, text) if code is ErrorCode.RATE_LIMITED else None
            return _failure(code, message, detail=text, limit_resets_at=resets_at, document=document)
    subtype = document.subtype if re.fullmatch(r"error_[a-z_]{1,40}", document.subtype) else "no reason"
    return _failure(ErrorCode.CLI_ERROR, f"the CLI reports an error ({subtype})", document=document)


def _limit_resets_at(document: Document, text: str) -> float | None:
    until = _LIMIT_UNTIL.search(text.strip())
    return float(until[1]) if until else document.limit_resets_at


def _api_error(document: Document, status: int, text: str) -> Failure:
    code, message = _BY_STATUS.get(status, (ErrorCode.API_ERROR, f"the API answered with status {status}"))
    retryable = CODE_FACTS[code].retryable
    if code is ErrorCode.API_ERROR:
        retryable = status >= _HTTP_SERVER_ERROR or status in _RETRYABLE_CLIENT_ERRORS
    return _failure(
        code,
        message,
        detail=text,
        retryable=retryable,
        api_status=status,
        limit_resets_at=_limit_resets_at(document, text) if code is ErrorCode.RATE_LIMITED else None,
        document=document,
    )
