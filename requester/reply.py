"""The answer, as the caller gets it. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from contract import ExecuteSuccess
from requester.errors import ErrorDetails, OutputInvalidError


@dataclass(frozen=True, repr=False)
class Reply:
    """What a run of the CLI gave. Its `repr` shows neither the answer nor what the CLI printed.

    Attributes:
        text: The answer: the `result` of the CLI's document (formats json and stream-json), or what was printed (text).
        request_id: The request's id.
        responder: Id of the responder that ran it.
        raw: What the CLI printed, to the byte.
        structured_output: The document's `structured_output` (`--json-schema`); None where it has none.
        session_id: The CLI's session.
        usage: Tokens as the CLI reports them.
        cost_usd: What the CLI says the run cost.
        attempts: How many times the request was sent until a responder took it.
        duration_s: From the call to the reply, in seconds, pauses between attempts included.
        execution_s: How long the CLI ran, in seconds, as the responder saw it.
        wait_s: How long the request waited for a slot, in seconds, as the responder saw it.
        is_kept: Whether this is the result of another request with the same idempotency key.
    """

    text: str
    request_id: str
    responder: str
    raw: str
    structured_output: Any = None
    session_id: str | None = None
    usage: Mapping[str, Any] | None = None
    cost_usd: float | None = None
    attempts: int = 1
    duration_s: float = 0.0
    execution_s: float = 0.0
    wait_s: float = 0.0
    is_kept: bool = False

    def __repr__(self) -> str:
        return (
            f"<Reply {self.request_id} of {len(self.text)} characters from {self.responder}"
            f" in {self.duration_s:.1f} s, cost_usd={self.cost_usd}, attempts={self.attempts}>"
        )

    def json(self) -> Any:
        """Give the answer as JSON: the `structured_output` where the CLI gave one, else the text, parsed.

        Raises:
            OutputInvalidError: The text is not JSON; the message does not show it.
        """
        if self.structured_output is not None:
            return self.structured_output
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            details: ErrorDetails = {
                "retryable": False,
                "responder": self.responder,
                "request_id": self.request_id,
                "cost_usd": self.cost_usd,
            }
            raise OutputInvalidError(f"the answer ({len(self.text)} characters) is not JSON", **details) from None


def read_reply(success: ExecuteSuccess, args: Sequence[str] | None, *, attempts: int, duration_s: float) -> Reply:
    """Give the reply for a run that ended well.

    Args:
        success: What the responder sent.
        args: The arguments that were asked for: they say which format was printed.
        attempts: How many times the request was sent.
        duration_s: Seconds since the call.

    Raises:
        OutputInvalidError: What was printed is not what the format promises.
    """
    text, structured_output = success.result, None
    if output_format(args) != "text":
        document = _find_document(success.result, output_format(args))
        if document is None:
            raise OutputInvalidError(
                "the CLI did not print the document that its format promises",
                responder=success.responder,
                request_id=success.id,
                cost_usd=success.cost_usd,
            )
        text, structured_output = document["result"], document.get("structured_output")
    return Reply(
        text=text,
        request_id=success.id,
        responder=success.responder,
        raw=success.result,
        structured_output=structured_output,
        session_id=success.session_id,
        usage=success.usage,
        cost_usd=success.cost_usd,
        attempts=attempts,
        duration_s=duration_s,
        execution_s=success.execution_time_ms / 1000,
        wait_s=success.wait_ms / 1000,
        is_kept=bool(success.kept),
    )


def output_format(args: Sequence[str] | None) -> str:
    """Give the format of the result with these arguments: json, stream-json or text.

    A responder adds `--output-format json` where the flag is not given.
    """
    args = args or ()
    found = "json"
    for place, arg in enumerate(args):
        if arg == "--output-format" and place + 1 < len(args):
            found = args[place + 1]
        elif arg.startswith("--output-format="):
            found = arg.partition("=")[2]
    return found if found in {"json", "stream-json"} else "text"


def _find_document(raw: str, printed_format: str) -> dict[str, Any] | None:
    # With --verbose the json format is a list of all events. A stream has one event in each line, and only "\n" ends a
    # line: U+2028 stands unescaped in what JSON.stringify writes.
    texts = raw.split("\n") if printed_format == "stream-json" else [raw]
    for text in reversed(texts):
        events = _parse(text)
        for event in reversed(events if isinstance(events, list) else [events]):
            if _is_document(event, printed_format):
                return event
    return None


def _is_document(event: Any, printed_format: str) -> TypeGuard[dict[str, Any]]:
    if not isinstance(event, dict) or not isinstance(event.get("result"), str):
        return False
    return event.get("type") == "result" or (printed_format == "json" and "type" not in event)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
