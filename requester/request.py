"""What the caller asks for, made into a request of the protocol. Pure."""

import math
from collections.abc import Sequence

from pydantic import ValidationError

from contract import ExecuteRequest, Failover, Priority, new_ulid
from requester.errors import InvalidRequestError
from requester.settings import TIMEOUT_MAX_S, TIMEOUT_MIN_S


def build_request(  # noqa: PLR0913 # the fields of a request
    prompt: str,
    *,
    args: Sequence[str] | None,
    cwd: str | None,
    request_id: str | None,
    idempotency_key: str | None = None,
    priority: str = Priority.INTERACTIVE,
    reuse: bool = False,
) -> ExecuteRequest:
    """Give the request, with an id of its own where the caller has none.

    Its `timeout_ms` is set for each attempt (`left_ms`); how large the rest may be is the responder's to say.

    Raises:
        InvalidRequestError: One line that names what is wrong, never its value.
    """
    try:
        request = ExecuteRequest(
            prompt=prompt,
            id=new_ulid() if request_id is None else request_id,
            args=args,
            cwd=cwd,
            idempotency_key=idempotency_key,
            priority=priority,
            reuse=reuse,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise InvalidRequestError(f"request refused: {name}: {problem['msg']}") from None
    if not all(_is_unicode(text) for text in (request.prompt, request.cwd or "", *(request.args or ()))):
        raise InvalidRequestError("request refused: a text has lone surrogates, which UTF-8 cannot carry")
    if not request.prompt.strip():
        raise InvalidRequestError("request refused: the prompt is empty")
    return request


def check_timeout(timeout: float) -> float:
    """Give the timeout, in seconds, if it can be one.

    Raises:
        InvalidRequestError: It is below a millisecond, above a day, or no number.
    """
    if not isinstance(timeout, int | float) or math.isnan(timeout) or not TIMEOUT_MIN_S <= timeout <= TIMEOUT_MAX_S:
        raise InvalidRequestError(
            f"request refused: timeout is in seconds, at least {TIMEOUT_MIN_S} and at most {TIMEOUT_MAX_S:.0f}"
        )
    return float(timeout)


def check_failover(failover: str) -> Failover:
    """Give what becomes of durable work whose responder was lost.

    Raises:
        InvalidRequestError: It is no such word.
    """
    try:
        return Failover(failover)
    except ValueError:
        raise InvalidRequestError(f"request refused: failover is one of {', '.join(Failover)}") from None


def left_ms(deadline: float, now: float) -> int:
    """Give the whole milliseconds until a deadline, at least one: zero is no timeout in the protocol.

    Args:
        deadline: Loop time, in seconds.
        now: Loop time, in seconds.
    """
    return max(1, int((deadline - now) * 1000))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
