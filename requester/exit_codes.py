"""The exit codes of `claude-requester`. Pure.

A script can tell by them what to do; the classes are those of `requester.errors`, the first that fits counts.
"""

from requester.errors import (
    ApiError,
    AuthError,
    CLIError,
    ExecuteTimeoutError,
    LimitReachedError,
    NotPermittedError,
    OutputError,
    RequesterError,
    RequestRefusedError,
    ResponderLostError,
    ResponderStoppedError,
    RunCancelledError,
    TicketUnknownError,
    UnavailableError,
)

OK = 0
OTHER = 1
USAGE = 2
INTERRUPTED = 130

EXIT_CODES: dict[type[RequesterError], int] = {
    RequestRefusedError: 3,
    UnavailableError: 4,
    ExecuteTimeoutError: 5,
    NotPermittedError: 6,
    AuthError: 6,
    ApiError: 7,
    CLIError: 8,
    LimitReachedError: 9,
    OutputError: 10,
    ResponderStoppedError: 11,
    ResponderLostError: 11,
    RunCancelledError: 11,
    TicketUnknownError: 12,
    RequesterError: OTHER,
}
RESPONDER_LOST = EXIT_CODES[ResponderStoppedError]

MEANINGS: dict[int, str] = {
    OK: "the answer is on stdout",
    OTHER: "any other error",
    USAGE: "the command line or a setting is wrong",
    3: "the request was refused: change it",
    4: "nobody could take it: no responder, all busy, or no NATS",
    5: "the time is over",
    6: "NATS does not permit it, or the API refuses the CLI's credential",
    7: "the API refused or is overloaded",
    8: "the CLI is missing or failed",
    9: "a limit of the request was reached (budget, turns)",
    10: "the answer cannot be used",
    11: "the responder was stopped, or lost, during the run",
    12: "there is no such ticket, or its result is no longer kept",
    INTERRUPTED: "interrupted (Ctrl-C)",
}


def exit_code(error: RequesterError) -> int:
    """Give the exit code for an error."""
    if isinstance(error, UnavailableError) and error.executed is not False:
        return RESPONDER_LOST
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
