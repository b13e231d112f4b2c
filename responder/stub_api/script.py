"""What the stub API shall answer, in order: the models of a script and the reader of its file.

A script is JSON; the first rule that matches a request and is not used up answers it::

    {"rules": [
      {"times": 1, "status": 429, "retry_after_s": 3},
      {"match": {"prompt": "list"}, "tool": {"name": "Bash", "input": {"command": "ls"}}, "text": "listed"},
      {"match": {"model": "*haiku*"}, "text_bytes": 1000000},
      {"echo": true, "delay_s": 0.5}
    ]}

A request that no rule takes gets the default answer, a sentence with the size of its prompt.
"""

from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

TEXT_MAX_BYTES = 64 * 1024 * 1024

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=0)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
ErrorStatus = Literal[400, 401, 403, 404, 413, 429, 500, 529]

_KINDS = {"text", "echo", "text_bytes", "status", "hang"}
_OF_AN_ERROR = {"message", "retry_after_s"}
_OF_ANY_ANSWER = {"headers", "delay_s"}


class ScriptError(ValueError):
    """A script file cannot be used; the message is one line that says where it is wrong and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Part):
    """Which requests a rule takes; what is left out does not matter.

    Attributes:
        prompt: A piece of the last user prompt, case-sensitive.
        model: A shell pattern for the model's whole name, such as `*haiku*`, case-sensitive.
    """

    prompt: str | None = None
    model: str | None = None

    def takes(self, prompt: str, model: str) -> bool:
        """Say whether a request with this last user prompt, for this model, is meant."""
        if self.prompt is not None and self.prompt not in prompt:
            return False
        return self.model is None or fnmatchcase(model, self.model)


class Tool(_Part):
    """A call of one of the caller's tools. Under `--json-schema` the CLI's tool is `StructuredOutput`.

    Attributes:
        name: The tool's name as the request declares it, such as `Bash`.
        input: The tool's arguments.
    """

    name: str = Field(min_length=1)
    input: dict[str, JsonValue] = {}


class Usage(_Part):
    """The tokens that an answer reports; the CLI computes the cost from them."""

    input_tokens: Tokens = 100
    output_tokens: Tokens = 20
    cache_creation_input_tokens: Tokens = 0
    cache_read_input_tokens: Tokens = 0


class Answer(_Part):
    """What a request gets. At most one of text, echo, text_bytes, status and hang; none of them: the default sentence.

    Attributes:
        text: The answer, literally.
        echo: Answer with the prompt.
        text_bytes: Answer with exactly so many bytes of ASCII text, always the same, with newlines and quotes in it.
        status: Answer with this HTTP status and Anthropic's error document.
        message: The text in the error document; None for a usual one.
        retry_after_s: Seconds in the error's `retry-after` header; None for no such header.
        headers: More response headers.
        tool: Call this tool first; the text follows once the request with its result has come.
        delay_s: Seconds before the first byte.
        chunk_chars: Characters in one text delta.
        chunk_delay_s: Seconds between two deltas of a stream.
        hang: Accept the request and answer nothing until the connection is closed.
        disconnect: Close the connection when half of the answer is sent.
        usage: The tokens reported.
    """

    text: str | None = None
    echo: bool = False
    text_bytes: int | None = Field(default=None, ge=1, le=TEXT_MAX_BYTES)
    status: ErrorStatus | None = None
    message: str | None = None
    retry_after_s: Annotated[int, Field(ge=0)] | None = None
    headers: dict[HeaderName, HeaderValue] = {}
    tool: Tool | None = None
    delay_s: Seconds = 0.0
    chunk_chars: int = Field(default=2048, ge=1)
    chunk_delay_s: Seconds = 0.0
    hang: bool = False
    disconnect: bool = False
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _is_one_answer(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in self.model_fields_set if getattr(self, name) != fields[name].default}
        kinds = sorted(given & _KINDS)
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other; keep one")
        rest = given - _KINDS - {"match", "times"}
        if self.hang and rest:
            raise ValueError(f"{min(rest)} has no effect beside hang; remove one of them")
        if self.status is not None and (lost := rest - _OF_AN_ERROR - _OF_ANY_ANSWER):
            raise ValueError(f"{min(lost)} has no effect beside status; remove one of them")
        if self.status is None and (lost := rest & _OF_AN_ERROR):
            raise ValueError(f"{min(lost)} belongs to an error; add status")
        return self


class Rule(Answer):
    """An answer and the requests it is for.

    Attributes:
        match: Which requests; every one when left out.
        times: How many requests the rule serves; None for ever. A tool's result belongs to the request before it.
    """

    match: Match = Match()
    times: int | None = Field(default=None, ge=1)


class Script(_Part):
    """An ordered list of rules."""

    rules: tuple[Rule, ...] = ()


def load_script(path: Path) -> Script:
    """Read a script from a JSON file.

    Raises:
        ScriptError: The file cannot be read or is not a script.
    """
    try:
        return Script.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ScriptError(f'{path}: {reason}; give a JSON file such as {{"rules": [{{"text": "hello"}}]}}') from error
    except ValidationError as error:
        raise ScriptError(f"{path}: {_first_mistake(error)}") from error


def _first_mistake(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False, include_input=False)
    where = ".".join(str(step) for step in first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        names = sorted({*Rule.model_fields, *Match.model_fields, *Tool.model_fields, *Usage.model_fields, "rules"})
        near = get_close_matches(where.rpartition(".")[2], names, n=1)
        return f"{where} is not a known name; " + (f"write {near[0]}" if near else "remove it") + more
    return f"{where}: {first['msg']}{more}".removeprefix(": ")
