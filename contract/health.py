"""The health request and its reply, on `claude.cli.health`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.codes import ErrorCode
from contract.request import RequestError

_REQUEST_MAX_BYTES = 1024


class HealthRequest(BaseModel):
    """Asks a responder how it is.

    Attributes:
        deep: Whether to run a real one-word prompt, which costs a slot, seconds and tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    deep: bool = Field(default=False, strict=True)

    def to_bytes(self) -> bytes:
        """Give the JSON that travels."""
        return self.model_dump_json().encode()


class HealthReply(BaseModel):
    """How a responder is.

    Attributes:
        status: `healthy`, or `unhealthy` with a `reason`.
        responder: Its id.
        version: Of claude-nats.
        cli_available: Whether the CLI is there and answers for its version.
        cli_version: The CLI's version.
        slots: How many runs it may have at a time.
        in_flight: How many it has.
        backlog: How many requests wait for a slot.
        standby: How many CLIs stand ready, started ahead of their requests.
        kept: How many CLIs wait for another request of the caller that has used them.
        expired: How many were not started because their deadline had passed.
        uptime_s: Seconds since it was started.
        deep: Whether a real prompt was run, and how it ended; none when it was not asked for.
        reason: One line that says what is wrong.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: Literal["healthy", "unhealthy"]
    responder: str
    version: str
    cli_available: bool
    cli_version: str | None = None
    slots: int
    in_flight: int
    backlog: int
    standby: int = 0
    kept: int = 0
    expired: int = 0
    uptime_s: float
    deep: bool | None = None
    reason: str | None = None

    def to_bytes(self) -> bytes:
        """Give the JSON that travels; what is not known does not."""
        return self.model_dump_json(exclude_none=True).encode()


def parse_health_request(body: bytes) -> HealthRequest:
    """Read a health request; an empty body asks for the cheap check.

    Raises:
        RequestError: The body is something else.
    """
    if len(body) > _REQUEST_MAX_BYTES:
        raise RequestError(
            ErrorCode.REQUEST_TOO_LARGE,
            f"a health request has at most {_REQUEST_MAX_BYTES} bytes, this one has {len(body)}",
        )
    try:
        return HealthRequest.model_validate_json(body or b"{}")
    except ValidationError:
        raise RequestError(ErrorCode.INVALID_REQUEST, 'a health request is empty or {"deep": true}') from None
