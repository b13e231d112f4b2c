"""Asks the Claude CLI over NATS: `reply = await execute("...")`, and `reply.text` is the answer.

`execute` and `execute_sync` need nothing but `NATS_URL`; `Requester` is for more than one configuration, or for a
connection that exists already. What can go wrong is the tree in `requester.errors`.
"""

from contract import ErrorCode, HealthReply
from requester.breaker import CircuitState
from requester.default import close_default, execute
from requester.errors import (
    ApiError,
    ApiOverloadedError,
    ArgumentRefusedError,
    AuthError,
    BudgetExceededError,
    CircuitOpenError,
    CLIError,
    CLIKilledError,
    CLINotFoundError,
    CLIStartError,
    CwdRefusedError,
    ExecuteTimeoutError,
    InternalError,
    InvalidRequestError,
    LimitReachedError,
    MaxTurnsError,
    NoRespondersError,
    NotConnectedError,
    NotPermittedError,
    OutputError,
    OutputInvalidError,
    OutputTooLargeError,
    OverloadedError,
    ProtocolError,
    RateLimitedError,
    RecordsUnavailableError,
    RequesterError,
    RequestRefusedError,
    RequestTooLargeError,
    ResponderLostError,
    ResponderStoppedError,
    RunCancelledError,
    StoppingError,
    UnavailableError,
    UnclaimedError,
)
from requester.fallback import execute_with_fallback
from requester.provider import ClaudeCLIProvider, Executor
from requester.reply import Reply
from requester.requester import Requester
from requester.settings import RequesterSettings, SettingsError
from requester.sync import close_default_sync, execute_sync

__all__ = [
    "ApiError",
    "ApiOverloadedError",
    "ArgumentRefusedError",
    "AuthError",
    "BudgetExceededError",
    "CLIError",
    "CLIKilledError",
    "CLINotFoundError",
    "CLIStartError",
    "CircuitOpenError",
    "CircuitState",
    "ClaudeCLIProvider",
    "CwdRefusedError",
    "ErrorCode",
    "ExecuteTimeoutError",
    "Executor",
    "HealthReply",
    "InternalError",
    "InvalidRequestError",
    "LimitReachedError",
    "MaxTurnsError",
    "NoRespondersError",
    "NotConnectedError",
    "NotPermittedError",
    "OutputError",
    "OutputInvalidError",
    "OutputTooLargeError",
    "OverloadedError",
    "ProtocolError",
    "RateLimitedError",
    "RecordsUnavailableError",
    "Reply",
    "RequestRefusedError",
    "RequestTooLargeError",
    "Requester",
    "RequesterError",
    "RequesterSettings",
    "ResponderLostError",
    "ResponderStoppedError",
    "RunCancelledError",
    "SettingsError",
    "StoppingError",
    "UnavailableError",
    "UnclaimedError",
    "close_default",
    "close_default_sync",
    "execute",
    "execute_sync",
    "execute_with_fallback",
]
