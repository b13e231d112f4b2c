"""Every way a request can fail: its code, its ADR-32 number, whether it may be sent again and whether the CLI ran."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The `code` of a failed reply, and of the requester's errors."""

    # Refused: nothing ran, the request has to change.
    INVALID_REQUEST = "invalid_request"
    REQUEST_TOO_LARGE = "request_too_large"
    ARGUMENT_REFUSED = "argument_refused"
    CWD_REFUSED = "cwd_refused"
    # No room, or nobody there: nothing ran, the same request may be sent again.
    NO_RESPONDERS = "no_responders"
    NOT_CONNECTED = "not_connected"
    NOT_PERMITTED = "not_permitted"
    CIRCUIT_OPEN = "circuit_open"
    OVERLOADED = "overloaded"
    STOPPING = "stopping"
    UNCLAIMED = "unclaimed"
    UNFIT = "unfit"
    RECORDS_UNAVAILABLE = "records_unavailable"
    # The time is over, or the run was cut short.
    TIMEOUT = "timeout"
    RESPONDER_STOPPED = "responder_stopped"
    RESPONDER_LOST = "responder_lost"
    CANCELLED = "cancelled"
    # Durable work.
    TICKET_UNKNOWN = "ticket_unknown"
    # The CLI.
    CLI_NOT_FOUND = "cli_not_found"
    CLI_START_FAILED = "cli_start_failed"
    CLI_ERROR = "cli_error"
    CLI_KILLED = "cli_killed"
    # The Messages API, as the CLI reports it.
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    API_OVERLOADED = "api_overloaded"
    API_ERROR = "api_error"
    # A limit that the caller set.
    BUDGET_EXCEEDED = "budget_exceeded"
    MAX_TURNS = "max_turns"
    # The answer.
    OUTPUT_INVALID = "output_invalid"
    OUTPUT_TOO_LARGE = "output_too_large"
    # A defect of ours.
    INTERNAL = "internal"


@dataclass(frozen=True)
class CodeFacts:
    """What a code says besides its name.

    Attributes:
        number: The numeric code in the `Nats-Service-Error-Code` header (ADR-32), in the sense HTTP gives it.
        retryable: Whether the same request may well succeed later.
        executed: Whether the CLI was started; None where only the single reply can tell.
        meaning: One line for the documentation.
    """

    number: int
    retryable: bool
    executed: bool | None
    meaning: str


CODE_FACTS: dict[ErrorCode, CodeFacts] = {
    ErrorCode.INVALID_REQUEST: CodeFacts(400, False, False, "the request is not what the protocol asks for"),
    ErrorCode.REQUEST_TOO_LARGE: CodeFacts(413, False, False, "the request is larger than a limit"),
    ErrorCode.ARGUMENT_REFUSED: CodeFacts(403, False, False, "an argument is outside the responder's policy"),
    ErrorCode.CWD_REFUSED: CodeFacts(403, False, False, "the working directory is outside the configured roots"),
    ErrorCode.NO_RESPONDERS: CodeFacts(503, True, False, "no responder listens on the subject"),
    ErrorCode.NOT_CONNECTED: CodeFacts(503, True, False, "NATS cannot be reached; the request was not sent"),
    ErrorCode.NOT_PERMITTED: CodeFacts(403, False, False, "NATS does not permit this requester to ask"),
    ErrorCode.CIRCUIT_OPEN: CodeFacts(503, True, False, "the requester's circuit breaker is open; nothing was sent"),
    ErrorCode.OVERLOADED: CodeFacts(503, True, False, "every slot is taken and the backlog is full"),
    ErrorCode.STOPPING: CodeFacts(503, True, False, "the responder stops and has not started the request"),
    ErrorCode.UNCLAIMED: CodeFacts(503, True, False, "a slot was free, and the requester's go did not come in time"),
    ErrorCode.UNFIT: CodeFacts(
        503, True, False, "the responder is not fit for work now and has not started the request"
    ),
    ErrorCode.RECORDS_UNAVAILABLE: CodeFacts(
        503, True, False, "the record of the idempotency key cannot be read or written now"
    ),
    ErrorCode.TIMEOUT: CodeFacts(504, True, None, "the deadline passed, in the backlog or during the run"),
    ErrorCode.RESPONDER_STOPPED: CodeFacts(503, True, True, "the responder was stopped before the run had ended"),
    ErrorCode.RESPONDER_LOST: CodeFacts(503, True, True, "the responder was lost after the run had started"),
    ErrorCode.CANCELLED: CodeFacts(503, True, True, "the run was ended because nobody awaited it any more"),
    ErrorCode.TICKET_UNKNOWN: CodeFacts(404, False, None, "there is no such ticket, or its result is no longer kept"),
    ErrorCode.CLI_NOT_FOUND: CodeFacts(500, False, False, "the CLI is not installed where the responder looks for it"),
    ErrorCode.CLI_START_FAILED: CodeFacts(500, True, False, "the operating system could not start the CLI"),
    ErrorCode.CLI_ERROR: CodeFacts(500, False, True, "the CLI ended with an error of its own"),
    ErrorCode.CLI_KILLED: CodeFacts(500, True, True, "the CLI was killed by a signal that was not the responder's"),
    ErrorCode.AUTH: CodeFacts(401, False, True, "the CLI is not logged in, or the API refused its credential"),
    ErrorCode.RATE_LIMITED: CodeFacts(429, True, None, "the API limits this credential for now"),
    ErrorCode.API_OVERLOADED: CodeFacts(529, True, True, "the API is overloaded"),
    ErrorCode.API_ERROR: CodeFacts(502, True, True, "the API answered with another error (see api_status)"),
    ErrorCode.BUDGET_EXCEEDED: CodeFacts(402, False, True, "the run reached --max-budget-usd"),
    ErrorCode.MAX_TURNS: CodeFacts(422, False, True, "the run reached --max-turns"),
    ErrorCode.OUTPUT_INVALID: CodeFacts(502, True, True, "the CLI printed nothing, or not what its format promises"),
    ErrorCode.OUTPUT_TOO_LARGE: CodeFacts(507, False, True, "the answer is larger than a limit"),
    ErrorCode.INTERNAL: CodeFacts(500, False, None, "a defect in the responder; its log has the details"),
}
