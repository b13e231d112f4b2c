"""What can go wrong, as a tree whose branches differ by what the caller can do.

RequesterError                    the root, and what a code is that only a newer responder knows
├── RequestRefusedError           change the request: nothing ran
│   ├── InvalidRequestError       also a ValueError
│   ├── RequestTooLargeError      the message says the size and the limit
│   ├── ArgumentRefusedError      outside the responder's policy
│   └── CwdRefusedError           outside the responder's roots
├── UnavailableError              ask again later: nothing ran (execute() has tried until the deadline)
│   ├── NoRespondersError         nobody listens
│   ├── OverloadedError           every slot is taken and the backlog is full
│   ├── StoppingError             the responder stops
│   ├── UnclaimedError            the responder did not hear in time that it may start
│   ├── UnfitError                the responder is not fit for work now
│   ├── RecordsUnavailableError   the record of the idempotency key cannot be reached
│   ├── CircuitOpenError          most requests failed lately: none is sent for a while
│   └── NotConnectedError         NATS cannot be reached
├── NotPermittedError             change the credentials or the server's permissions
├── ExecuteTimeoutError           also a TimeoutError; `executed` says whether the CLI ran, None when nobody knows
├── ResponderStoppedError         the run was cut short by a stop
├── ResponderLostError            the responder has gone, or does not answer, after it was told to start
├── RunCancelledError             the run was ended because its requester was not heard of any more
├── ResponderLostError            the responder was lost after the run had started: nobody knows how far it came
├── TicketUnknownError            there is no such durable work, or not any more; also a LookupError
├── CLIError                      the CLI ended with an error of its own
│   ├── CLINotFoundError          install it where the responder looks
│   ├── CLIStartError             the operating system could not start it
│   └── CLIKilledError            a signal that was not the responder's
├── ApiError                      the Messages API refused (`api_status`)
│   ├── AuthError                 log in, or mend the credential
│   ├── RateLimitedError          later (`retry_after_s`); `executed` says whether this request hit the limit
│   └── ApiOverloadedError        later
├── LimitReachedError             raise the limit that you set
│   ├── BudgetExceededError       --max-budget-usd
│   └── MaxTurnsError             --max-turns
├── OutputError                   the CLI ran, its answer cannot be used
│   ├── OutputInvalidError        not what its format promises
│   └── OutputTooLargeError       larger than a limit
├── InternalError                 a defect in the responder: its log has the details
└── ProtocolError                 a reply that is not of this protocol

`SettingsError` (a ValueError, in `requester.settings`) is not among them: it speaks of the deployment, not a request.
All of them can be pickled and keep their attributes, so they cross process borders (Celery, multiprocessing).
"""

from typing import TypedDict, Unpack

from contract import CODE_FACTS, ErrorCode, ExecuteFailure


class ErrorDetails(TypedDict, total=False):
    """What an error may know besides its message; `RequesterError` explains each.

    What is left out is what `contract.CODE_FACTS` says of the code, or None.
    """

    code: str
    retryable: bool
    executed: bool | None
    responder: str | None
    request_id: str | None
    retry_after_s: float | None
    api_status: int | None
    cost_usd: float | None


class RequesterError(Exception):
    """A request that has no answer.

    Attributes:
        code: One of `ErrorCode`, or what a newer responder said.
        retryable: Whether the same request may well succeed later.
        executed: Whether the CLI was started for it; None where nobody knows.
        responder: Id of the responder that refused or failed it.
        request_id: The request's id.
        retry_after_s: Seconds to wait before another try, where the responder said so.
        api_status: HTTP status with which the Messages API refused.
        cost_usd: What the CLI says the failed run cost.
    """

    code: str = ErrorCode.INTERNAL

    def __init__(self, message: str, **details: Unpack[ErrorDetails]) -> None:
        super().__init__(message)
        facts = CODE_FACTS[ErrorCode(type(self).code)]
        if "code" in details:
            self.code = details["code"]
        self.retryable = details.get("retryable", facts.retryable)
        self.executed = details.get("executed", facts.executed)
        self.responder = details.get("responder")
        self.request_id = details.get("request_id")
        self.retry_after_s = details.get("retry_after_s")
        self.api_status = details.get("api_status")
        self.cost_usd = details.get("cost_usd")


class RequestRefusedError(RequesterError):
    """The request has to change; nothing ran."""

    code = ErrorCode.INVALID_REQUEST


class InvalidRequestError(RequestRefusedError, ValueError):
    """The request is not what the protocol asks for."""


class RequestTooLargeError(RequestRefusedError):
    """The request is larger than a limit; the message says both."""

    code = ErrorCode.REQUEST_TOO_LARGE


class ArgumentRefusedError(RequestRefusedError):
    """An argument is outside the responder's policy."""

    code = ErrorCode.ARGUMENT_REFUSED


class CwdRefusedError(RequestRefusedError):
    """The working directory is outside the responder's roots."""

    code = ErrorCode.CWD_REFUSED


class UnavailableError(RequesterError):
    """Nobody could take the request; nothing ran, the same request may be sent again."""

    code = ErrorCode.NO_RESPONDERS


class NoRespondersError(UnavailableError):
    """No responder listens on the subject."""


class OverloadedError(UnavailableError):
    """Every slot is taken and the backlog is full."""

    code = ErrorCode.OVERLOADED


class StoppingError(UnavailableError):
    """The responder stops and has not started the request."""

    code = ErrorCode.STOPPING


class UnclaimedError(UnavailableError):
    """A slot was free, and the go did not come in time: the connection was down, or this process stood still."""

    code = ErrorCode.UNCLAIMED


class UnfitError(UnavailableError):
    """The responder is not fit for work now, and has let go of what it had not started."""

    code = ErrorCode.UNFIT


class RecordsUnavailableError(UnavailableError):
    """The record of the idempotency key cannot be read or written now, so nothing was started."""

    code = ErrorCode.RECORDS_UNAVAILABLE


class NotConnectedError(UnavailableError):
    """NATS cannot be reached, or the connection ended while the reply was awaited (`executed` is None then)."""

    code = ErrorCode.NOT_CONNECTED


class CircuitOpenError(UnavailableError):
    """Most requests failed lately, so none is sent for a while (`retry_after_s`)."""

    code = ErrorCode.CIRCUIT_OPEN


class NotPermittedError(RequesterError):
    """NATS does not permit this requester to ask, or to listen for the reply."""

    code = ErrorCode.NOT_PERMITTED


class ExecuteTimeoutError(RequesterError, TimeoutError):
    """The deadline passed: in the backlog, during the run, or without a word (`executed` is None then)."""

    code = ErrorCode.TIMEOUT


class ResponderStoppedError(RequesterError):
    """The responder was stopped before the run had ended."""

    code = ErrorCode.RESPONDER_STOPPED


class ResponderLostError(RequesterError):
    """The responder has gone, or does not answer.

    `executed` is True after it was told to start, although the run may have been lost on the way to its start; it is
    False where it was not, and then execute() has tried elsewhere until the deadline.
    """

    """The responder was lost after the run had started; what its tools have done is done."""

    code = ErrorCode.RESPONDER_LOST


class RunCancelledError(RequesterError):
    """The run was ended because its requester was not heard of any more."""

    code = ErrorCode.CANCELLED


class TicketUnknownError(RequesterError, LookupError):
    """There is no such ticket, or its result is no longer kept."""

    code = ErrorCode.TICKET_UNKNOWN


class CLIError(RequesterError):
    """The CLI ended with an error of its own."""

    code = ErrorCode.CLI_ERROR


class CLINotFoundError(CLIError):
    """The CLI is not installed where the responder looks for it."""

    code = ErrorCode.CLI_NOT_FOUND


class CLIStartError(CLIError):
    """The operating system could not start the CLI."""

    code = ErrorCode.CLI_START_FAILED


class CLIKilledError(CLIError):
    """The CLI was killed by a signal that was not the responder's."""

    code = ErrorCode.CLI_KILLED


class ApiError(RequesterError):
    """The Messages API answered with an error; `api_status` says which."""

    code = ErrorCode.API_ERROR


class AuthError(ApiError):
    """The CLI is not logged in, or the API refused its credential."""

    code = ErrorCode.AUTH


class RateLimitedError(ApiError):
    """The API limits this credential for now.

    `executed` is True for the run that has hit the limit. It is False where every responder that could be asked takes
    no work because of a limit; `retry_after_s` is then when the first of them expects to, and execute() has waited for
    that where the deadline allows it.
    """

    code = ErrorCode.RATE_LIMITED


class ApiOverloadedError(ApiError):
    """The API is overloaded."""

    code = ErrorCode.API_OVERLOADED


class LimitReachedError(RequesterError):
    """The run reached a limit that the caller had set."""

    code = ErrorCode.BUDGET_EXCEEDED


class BudgetExceededError(LimitReachedError):
    """The run reached --max-budget-usd."""


class MaxTurnsError(LimitReachedError):
    """The run reached --max-turns."""

    code = ErrorCode.MAX_TURNS


class OutputError(RequesterError):
    """The CLI ran, but its answer cannot be used."""

    code = ErrorCode.OUTPUT_INVALID


class OutputInvalidError(OutputError):
    """The answer is not what its format promises, or not the JSON that was asked for."""


class OutputTooLargeError(OutputError):
    """The answer is larger than a limit."""

    code = ErrorCode.OUTPUT_TOO_LARGE


class InternalError(RequesterError):
    """A defect in the responder; its log has the details."""


class ProtocolError(RequesterError):
    """A reply that is not of this protocol; whether the CLI ran is not known."""


ERRORS: dict[ErrorCode, type[RequesterError]] = {
    ErrorCode.INVALID_REQUEST: InvalidRequestError,
    ErrorCode.REQUEST_TOO_LARGE: RequestTooLargeError,
    ErrorCode.ARGUMENT_REFUSED: ArgumentRefusedError,
    ErrorCode.CWD_REFUSED: CwdRefusedError,
    ErrorCode.NO_RESPONDERS: NoRespondersError,
    ErrorCode.NOT_CONNECTED: NotConnectedError,
    ErrorCode.NOT_PERMITTED: NotPermittedError,
    ErrorCode.CIRCUIT_OPEN: CircuitOpenError,
    ErrorCode.OVERLOADED: OverloadedError,
    ErrorCode.STOPPING: StoppingError,
    ErrorCode.UNCLAIMED: UnclaimedError,
    ErrorCode.UNFIT: UnfitError,
    ErrorCode.RECORDS_UNAVAILABLE: RecordsUnavailableError,
    ErrorCode.TIMEOUT: ExecuteTimeoutError,
    ErrorCode.RESPONDER_STOPPED: ResponderStoppedError,
    ErrorCode.RESPONDER_LOST: ResponderLostError,
    ErrorCode.CANCELLED: RunCancelledError,
    ErrorCode.TICKET_UNKNOWN: TicketUnknownError,
    ErrorCode.CLI_NOT_FOUND: CLINotFoundError,
    ErrorCode.CLI_START_FAILED: CLIStartError,
    ErrorCode.CLI_ERROR: CLIError,
    ErrorCode.CLI_KILLED: CLIKilledError,
    ErrorCode.AUTH: AuthError,
    ErrorCode.RATE_LIMITED: RateLimitedError,
    ErrorCode.API_OVERLOADED: ApiOverloadedError,
    ErrorCode.API_ERROR: ApiError,
    ErrorCode.BUDGET_EXCEEDED: BudgetExceededError,
    ErrorCode.MAX_TURNS: MaxTurnsError,
    ErrorCode.OUTPUT_INVALID: OutputInvalidError,
    ErrorCode.OUTPUT_TOO_LARGE: OutputTooLargeError,
    ErrorCode.INTERNAL: InternalError,
}


def error_of(failure: ExecuteFailure) -> RequesterError:
    """Give the error for a failed reply; what the responder says of it wins over what its code says in general."""
    details: ErrorDetails = {
        "code": one_line(failure.code),
        "retryable": failure.retryable,
        "executed": failure.executed,
        "responder": failure.responder,
        "request_id": failure.id,
        "retry_after_s": None if failure.retry_after_ms is None else failure.retry_after_ms / 1000,
        "api_status": failure.api_status,
        "cost_usd": failure.cost_usd,
    }
    message = one_line(failure.error) or failure.code
    try:
        known = ERRORS[ErrorCode(failure.code)]
    except ValueError:
        return RequesterError(message, **details)
    return known(message, **details)


def one_line(text: str) -> str:
    """Give a text that came over the wire as one line without control characters: it may end up in a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
