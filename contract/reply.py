"""The reply: what a run gave, or why there is none."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contract.codes import CODE_FACTS, ErrorCode
from contract.subjects import HEADER_ERROR, HEADER_ERROR_CODE


class ReplyError(ValueError):
    """A reply that is not one of this protocol."""


class _Reply(BaseModel):
    # A newer responder may say more: unknown keys of a reply are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    responder: str
    execution_time_ms: int = 0
    wait_ms: int = 0
    session_id: str | None = None
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    num_turns: int | None = None
    kept: bool | None = None

    def to_bytes(self) -> bytes:
        """Give the JSON that travels; what is not known does not."""
        return self.model_dump_json(exclude_none=True).encode()


class ExecuteSuccess(_Reply):
    """A run that ended well.

    Attributes:
        id: The request's.
        result: What the CLI printed, to the byte.
        responder: Id of the responder that ran it.
        execution_time_ms: How long the CLI ran.
        wait_ms: How long the request waited for a slot.
        session_id: The CLI's session.
        usage: Tokens as the CLI reports them.
        cost_usd: What the CLI says the run cost.
        num_turns: Turns of the agent's loop.
        kept: True where this is the result of another request with the same idempotency key.
    """

    success: Literal[True] = True
    id: str
    result: str

    def headers(self) -> dict[str, str]:
        """Give the reply's own headers: none, the request's are never echoed."""
        return {}


class ExecuteFailure(_Reply):
    """A request that has no result.

    Attributes:
        id: The request's; none where it could not be read.
        error: One line for the user.
        code: One of `ErrorCode`; a string, so that a newer responder's codes can still be read.
        retryable: Whether the same request may well succeed later.
        executed: Whether the CLI was started for it.
        api_status: HTTP status with which the Messages API refused.
        retry_after_ms: How long to wait before another try, in milliseconds.
    """

    success: Literal[False] = False
    id: str | None = None
    error: str
    code: str
    retryable: bool
    executed: bool
    api_status: int | None = None
    retry_after_ms: int | None = None

    def headers(self) -> dict[str, str]:
        """Give the ADR-32 headers, by which any NATS micro client knows that the request failed."""
        try:
            number = CODE_FACTS[ErrorCode(self.code)].number
        except ValueError:
            number = CODE_FACTS[ErrorCode.INTERNAL].number
        return {HEADER_ERROR: self.error.encode("ascii", "replace").decode(), HEADER_ERROR_CODE: str(number)}


ExecuteReply = ExecuteSuccess | ExecuteFailure

# Values are not cached: an id never comes again, and 16,384 of them are 1.2 MiB.
# Source: pydantic.dev/docs, ConfigDict.cache_strings.
_REPLY: TypeAdapter[ExecuteReply] = TypeAdapter(
    Annotated[ExecuteReply, Field(discriminator="success")], config=ConfigDict(cache_strings="keys")
)


def parse_reply(body: bytes) -> ExecuteReply:
    """Read a reply from the bytes of a message.

    Raises:
        ReplyError: The bytes are no reply of this protocol; says where, never what.
    """
    try:
        return _REPLY.validate_json(body)
    except ValidationError as error:
        places = {".".join(str(part) for part in problem["loc"][1:]) for problem in error.errors(include_input=False)}
        where = ", ".join(sorted(places - {""})) or "the body"
        raise ReplyError(f"the reply is not one of this protocol (see {where})") from None
