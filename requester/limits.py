"""What limited responders say when they are asked until when. Pure."""

from collections.abc import Iterable

from contract import ErrorCode, ExecuteFailure, ReplyError, parse_reply
from requester.errors import RateLimitedError, error_of


def earliest(bodies: Iterable[bytes]) -> RateLimitedError | None:
    """Give the error for the limit that ends first; None where nobody has told of one.

    Args:
        bodies: The answers; what is none of this protocol is ignored.
    """
    limits = [error for body in bodies if (error := _limit(body)) is not None]
    if not limits:
        return None
    first = min(limits, key=lambda error: error.retry_after_s or 0.0)
    wait_s = first.retry_after_s or 0.0
    first.args = (f"every responder waits for the end of an API limit; the first one for {wait_s:.0f} s",)
    return first


def _limit(body: bytes) -> RateLimitedError | None:
    try:
        reply = parse_reply(body)
    except ReplyError:
        return None
    if not isinstance(reply, ExecuteFailure) or reply.code != ErrorCode.RATE_LIMITED or reply.executed:
        return None
    error = error_of(reply)
    return error if isinstance(error, RateLimitedError) else None
