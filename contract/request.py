"""The request: its shape, its limits, and the one way to read it from bytes."""

import itertools
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from contract.codes import ErrorCode

DEFAULT_TIMEOUT_MS = 60_000
# The CLI reads at most 10 MB of text from stdin ("piped stdin input exceeds 10MB").
PROMPT_MAX_BYTES = 10_000_000
_NAME_SHOWN = 64
_KEYS_MAX = 16
# A parser builds 20 to 70 bytes for each byte of `[0],[0],…`, and pydantic one error for each value it does not want,
# whereas a request is flat: outside its strings it has a comma for each key and argument.
_VALUES_MAX = 1024
_UP_TO_COMMA = re.compile(rb'(?:[^",]++|"[^"]*+"?)*+(?:,|\Z)')


class RequestError(ValueError):
    """A request that is refused before anything is done for it.

    Attributes:
        code: What was wrong with it, in one word.
        request_id: The caller's name for it, where it could be read.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.request_id: str | None = None


@dataclass(frozen=True)
class RequestLimits:
    """How large a request may be.

    Attributes:
        prompt_max_bytes: Size of the prompt in UTF-8.
        args_max_count: How many arguments.
        arg_max_bytes: Size of one argument in UTF-8.
        cwd_max_bytes: Size of the working directory's path in UTF-8.
        timeout_max_ms: The longest time a caller may ask for, in milliseconds.
    """

    prompt_max_bytes: int = PROMPT_MAX_BYTES
    args_max_count: int = 64
    arg_max_bytes: int = 32 * 1024
    cwd_max_bytes: int = 4096
    timeout_max_ms: int = 3_600_000


class Priority(StrEnum):
    """The class of a request: which of those that wait for a slot come first."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class ExecuteRequest(BaseModel):
    """One run of the CLI, as it is asked for on `claude.cli.execute`.

    Attributes:
        prompt: What the CLI reads on stdin.
        id: Names the request in replies, logs and traces; a ULID unless the caller has names of its own.
        args: The CLI's flags; none means those of its headless mode, `-p --output-format json`.
        cwd: Working directory inside the responder's roots; none means a fresh empty one.
        timeout_ms: Milliseconds from now after which nobody waits any more, the wait for a slot included.
        idempotency_key: Names the work: another request with the same key joins its run or gets its kept result.
        priority: Its class: in the backlog `batch` waits behind `interactive`, for a while.
        reuse: Whether a CLI may run it that has served the same connection before, and others of it later, where the
            responder allows that.
    """

    # Prompts and ids are not kept when they have been read (`contract.reply` says the source).
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, cache_strings="keys"
    )

    prompt: str
    id: RequestId | None = None
    args: Annotated[tuple[str, ...] | None, Field(fail_fast=True)] = None
    cwd: str | None = None
    timeout_ms: Annotated[
        int,
        Field(
            strict=True, ge=1, validation_alias=AliasChoices("timeout_ms", "timeout"), serialization_alias="timeout_ms"
        ),
    ] = DEFAULT_TIMEOUT_MS
    idempotency_key: IdempotencyKey | None = None
    # The default does not travel: a responder that does not know the key yet would refuse it.
    priority: Annotated[Priority, Field(exclude_if=lambda priority: priority is Priority.INTERACTIVE)] = (
        Priority.INTERACTIVE
    )
    # The same.
    reuse: Annotated[bool, Field(strict=True, exclude_if=lambda reuse: not reuse)] = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_wrong_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if len(data) > _KEYS_MAX:
            raise ValueError(f"the request has {len(data)} keys (known: {', '.join(cls.model_fields)})")
        if "timeout" in data and "timeout_ms" in data:
            raise ValueError("timeout is another name of timeout_ms: give one of them")
        return data

    def to_bytes(self) -> bytes:
        """Give the JSON that travels; what is not set does not."""
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()


def parse_request(body: bytes, limits: RequestLimits) -> ExecuteRequest:
    """Read a request from the bytes of a message.

    Args:
        body: The payload.
        limits: How large the request may be.

    Returns:
        The validated request, within the limits.

    Raises:
        RequestError: The message says what is wrong by name and size, never by value.
    """
    _refuse_many_values(body, limits)
    try:
        request = ExecuteRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(ErrorCode.INVALID_REQUEST, _one_line(error)) from None
    try:
        _check_limits(request, limits)
    except RequestError as error:
        error.request_id = request.id
        raise
    return request


def _refuse_many_values(body: bytes, limits: RequestLimits) -> None:
    """Refuse what would be dear to parse: every value but the first of its list or object stands after a comma."""
    if body.count(b",") < _VALUES_MAX:
        return
    without_escapes = body.replace(rb"\\", b"").replace(rb"\"", b"")
    parts = _UP_TO_COMMA.finditer(without_escapes)
    if next(itertools.islice(parts, _VALUES_MAX, None), None) is not None:
        raise RequestError(
            ErrorCode.REQUEST_TOO_LARGE,
            f"request refused: the body has more than {_VALUES_MAX} values, the limit of args is"
            f" {limits.args_max_count}",
        )


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])[:_NAME_SHOWN].encode("ascii", "backslashreplace").decode()
        if problem["type"] == "extra_forbidden":
            known = ", ".join(ExecuteRequest.model_fields)
            problems.append(f"unknown key {name!r} (known: {known})")
        elif problem["type"] == "json_invalid":
            problems.append("the body is not a JSON object in UTF-8")
        elif not name:
            problems.append(problem["msg"].removeprefix("Value error, "))
        else:
            problems.append(f"{name}: {problem['msg']}")
    return f"request refused: {'; '.join(problems[:3])}"


def _check_limits(request: ExecuteRequest, limits: RequestLimits) -> None:
    args = request.args or ()
    sizes = [
        ("prompt", len(request.prompt.encode()), limits.prompt_max_bytes, "bytes"),
        ("args", len(args), limits.args_max_count, "arguments"),
        *((f"args[{place}]", len(arg.encode()), limits.arg_max_bytes, "bytes") for place, arg in enumerate(args)),
        ("cwd", len((request.cwd or "").encode()), limits.cwd_max_bytes, "bytes"),
    ]
    for name, size, limit, unit in sizes:
        if size > limit:
            raise RequestError(
                ErrorCode.REQUEST_TOO_LARGE, f"request refused: {name} has {size} {unit}, the limit is {limit}"
            )
    if request.timeout_ms > limits.timeout_max_ms:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"request refused: timeout_ms is too long, the limit is {limits.timeout_max_ms}",
        )
    if not request.prompt.strip():
        raise RequestError(ErrorCode.INVALID_REQUEST, "request refused: the prompt is empty")
