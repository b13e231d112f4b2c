"""Replies as the wire has them: from an outcome, from a refusal, and cut down to what NATS can carry."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from contract import (
    CODE_FACTS,
    ErrorCode,
    ExecuteFailure,
    ExecuteReply,
    ExecuteSuccess,
    message_size,
)
from responder.document import Document
from responder.outcome import Failure, Success
from responder.redaction import redact

_WAIT_MAX_S = 366 * 24 * 3600
_SHORT_ERROR_CHARS = 160


@dataclass(frozen=True)
class Answers:
    """Builds the replies of one responder.

    Attributes:
        responder: Its id.
        secrets: Values that no reply may hold.
    """

    responder: str
    secrets: Collection[str] = field(default=(), repr=False)

    def outcome(
        self, request_id: str, outcome: Success | Failure, private: str | Sequence[str], run_s: float, wait_s: float
    ) -> ExecuteReply:
        """Answer with what a run gave.

        Args:
            request_id: The request's.
            outcome: What the run means.
            private: What the caller wrote, the prompt or it and further texts, masked in what the CLI says of an error.
            run_s: How long the CLI ran, in seconds.
            wait_s: How long the request waited for a slot, in seconds.
        """
        common = {
            "responder": self.responder,
            "execution_time_ms": round(run_s * 1000),
            "wait_ms": round(wait_s * 1000),
            **_used(outcome.document),
        }
        if isinstance(outcome, Success):
            return ExecuteSuccess(id=request_id, result=outcome.printed, **common)
        detail = redact(outcome.detail, self.secrets, private)
        return ExecuteFailure(
            id=request_id,
            error=f"{outcome.message}: {detail}" if detail else outcome.message,
            code=outcome.code,
            retryable=outcome.retryable,
            executed=outcome.executed,
            api_status=outcome.api_status,
            retry_after_ms=_milliseconds_until(outcome.limit_resets_at),
            **common,
        )

    def refusal(
        self,
        request_id: str | None,
        code: ErrorCode,
        message: str,
        *,
        retry_after_ms: int | None = None,
        wait_s: float = 0,
    ) -> ExecuteFailure:
        """Answer a request for which nothing was run."""
        return ExecuteFailure(
            id=request_id,
            error=message,
            code=code,
            retryable=CODE_FACTS[code].retryable,
            executed=False,
            responder=self.responder,
            retry_after_ms=retry_after_ms,
            wait_ms=round(wait_s * 1000),
        )

    def lost(self, request_id: str) -> ExecuteFailure:
        """Answer for a responder that was lost after it had started the run."""
        code = ErrorCode.RESPONDER_LOST
        return self.refusal(request_id, code, CODE_FACTS[code].meaning).model_copy(update={"executed": True})

    def fitting(self, reply: ExecuteReply, max_payload: int) -> ExecuteReply:
        """Give the reply or, when it is larger than NATS carries, less of it.

        A failure loses its usage, then what its error has beyond its first words, and keeps its code; a success
        becomes a failure with the sizes.
        """
        size = _size(reply)
        if size <= max_payload:
            return reply
        if isinstance(reply, ExecuteFailure):
            without_usage = reply.model_copy(update={"usage": None})
            if _size(without_usage) <= max_payload:
                return without_usage
            return without_usage.model_copy(update={"error": _shortened(reply.error)})
        code = ErrorCode.OUTPUT_TOO_LARGE
        return ExecuteFailure(
            **reply.model_dump(include={"id", "responder", "execution_time_ms", "wait_ms", "session_id", "cost_usd"}),
            error=f"the reply has {size} bytes, NATS's max_payload here is {max_payload}: raise it in the server",
            code=code,
            retryable=CODE_FACTS[code].retryable,
            executed=True,
        )


def _size(reply: ExecuteReply) -> int:
    return message_size(reply.headers(), reply.to_bytes())


def _shortened(error: str) -> str:
    return error if len(error) <= _SHORT_ERROR_CHARS else f"{error[:_SHORT_ERROR_CHARS]}…"


def _used(document: Document | None) -> dict[str, Any]:
    if document is None:
        return {}
    return {name: getattr(document, name) for name in ("session_id", "usage", "cost_usd", "num_turns")}


def _milliseconds_until(epoch_s: float | None) -> int | None:
    """Give the time until a limit ends; None where it is too far away to be true."""
    wait_s = 0.0 if epoch_s is None else epoch_s - time.time()
    return None if epoch_s is None or not wait_s <= _WAIT_MAX_S else max(0, round(wait_s * 1000))
