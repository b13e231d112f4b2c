"""Reading what the CLI prints: the result document, in each of its output formats.

The output is not ours and may be anything up to `output_max_bytes`. So nothing is kept but the events that are looked
for, lines are read from the end, and every value is checked: text is valid Unicode, numbers are finite and in range.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

_ARRAY_EVENTS_MAX = 100_000
# Lines that may hold the event, read from the end until one does.
_CANDIDATE_LINES_MAX = 256
_BLANK = re.compile(r"[ \t\n\r]*")
_NAME_MAX_CHARS = 256
_ERRORS_MAX = 64
_COST_MAX_USD = 1e6
_TURNS_MAX = 1_000_000
_HTTP_STATUSES = range(100, 600)
_EPOCH_MAX_S = 1e11
_USAGE_MAX_KEYS = 64
_USAGE_MAX_BYTES = 8 * 1024


@dataclass(frozen=True)
class Document:
    """The CLI's own account of a run: its `result` event.

    Attributes:
        is_error: Whether the CLI says that it failed; `subtype` may say "success" all the same.
        subtype: How the turn ended.
        result: The answer, or the reason of the failure.
        errors: Reasons of the failure in turns that were cut short.
        api_status: HTTP status with which the API refused, if it did.
        session_id: The session.
        usage: Tokens; None also where there is more of it than a reply should carry.
        cost_usd: What the run cost.
        num_turns: Turns of the agent's loop.
        model: The model that was used most.
        limit_resets_at: When a rate limit ends, in seconds since the epoch, if the CLI says so.
        is_alone: Whether all that was printed is JSON and this is in it, as the format `json` promises.
        has_answer: Whether there is an answer, as text or as structured output.
    """

    is_error: bool = False
    subtype: str = ""
    result: str = field(default="", repr=False)
    errors: tuple[str, ...] = field(default=(), repr=False)
    api_status: int | None = None
    session_id: str | None = None
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    num_turns: int | None = None
    model: str | None = None
    limit_resets_at: float | None = None
    is_alone: bool = True
    has_answer: bool = True


@dataclass
class _Found:
    """The last events of the two kinds that matter."""

    result: dict[str, Any] | None = None
    limit: dict[str, Any] | None = None


def read_document(printed: str) -> Document | None:
    """Find the result in what the CLI printed.

    Args:
        printed: One JSON object (`json`), an array of events (`json` with `--verbose`) or a line for each event
            (`stream-json`).

    Returns:
        The document, or None when there is none or it is cut.
    """
    whole = _in_whole(printed)
    found = whole or _in_lines(printed)
    result = found.result
    if result is None or not isinstance(result.get("is_error"), bool):
        return None
    return Document(
        is_error=result["is_error"],
        subtype=_name(result.get("subtype")) or "",
        result=_text(result.get("result")) or "",
        errors=_texts(result.get("errors")),
        api_status=_whole_number(result.get("api_error_status"), _HTTP_STATUSES),
        session_id=_name(result.get("session_id")),
        usage=_usage(result.get("usage")),
        cost_usd=_number(result.get("total_cost_usd"), _COST_MAX_USD),
        num_turns=_whole_number(result.get("num_turns"), range(_TURNS_MAX)),
        model=_most_used_model(result.get("modelUsage")),
        limit_resets_at=_limit_resets_at(found.limit),
        is_alone=whole is not None,
        has_answer=isinstance(result.get("result"), str) or result.get("structured_output") is not None,
    )


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


# Python reads NaN and Infinity, which are no JSON.
_STRICT = json.JSONDecoder(parse_constant=_no_json)
_LENIENT = json.JSONDecoder(parse_constant=lambda _constant: None)


def _in_whole(printed: str) -> _Found | None:
    """Look for the events where all of the output is one JSON value; None when it is not."""
    found = _Found()
    start = _after_blanks(printed, 0)
    try:
        if printed.startswith("[", start):
            end = _read_array(printed, start + 1, found)
        elif printed.startswith("{", start):
            event, end = _STRICT.raw_decode(printed, start)
            _note(event, found)
        else:
            return None
    except (ValueError, RecursionError):
        return None
    return found if _after_blanks(printed, end) == len(printed) else None


def _read_array(printed: str, at: int, found: _Found) -> int:
    """Read an array of events, of which one at a time is in memory, and give where it ends."""
    at = _after_blanks(printed, at)
    if printed.startswith("]", at):
        return at + 1
    for _ in range(_ARRAY_EVENTS_MAX):
        event, at = _STRICT.raw_decode(printed, _after_blanks(printed, at))
        _note(event, found)
        at = _after_blanks(printed, at) + 1
        if printed.startswith("]", at - 1):
            return at
        if not printed.startswith(",", at - 1):
            break
    raise ValueError("the array is cut, broken, or has too many events")


def _note(event: Any, found: _Found) -> None:
    kind = event.get("type") if isinstance(event, dict) else None
    if kind == "result":
        found.result = event
    elif kind == "rate_limit_event":
        found.limit = event


def _after_blanks(printed: str, at: int) -> int:
    blanks = _BLANK.match(printed, at)
    return blanks.end() if blanks else at


def _in_lines(printed: str) -> _Found:
    return _Found(_last_event(printed, "result"), _last_event(printed, "rate_limit_event"))


def _last_event(printed: str, kind: str) -> dict[str, Any] | None:
    # Lines end at "\n" alone: JSON.stringify leaves U+2028 as it is, which splitlines() takes for an end.
    marker, before = f'"{kind}"', len(printed)
    for _ in range(_CANDIDATE_LINES_MAX):
        at = printed.rfind(marker, 0, before)
        if at < 0:
            return None
        before = printed.rfind("\n", 0, at) + 1
        end = printed.find("\n", at)
        if not printed.startswith("{", before):
            continue
        try:
            event = _LENIENT.decode(printed[before : len(printed) if end < 0 else end])
        except (ValueError, RecursionError):
            continue
        if event.get("type") == kind:
            return dict(event)
    return None


def _text(value: Any) -> str | None:
    """Give a text as valid Unicode: halves of a pair become one character, a lone one is replaced."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    texts = map(_text, value[:_ERRORS_MAX] if isinstance(value, list) else ())
    return tuple(text for text in texts if text is not None)


def _name(value: Any) -> str | None:
    text = _text(value)
    return text if text is not None and len(text) <= _NAME_MAX_CHARS else None


def _number(value: Any, limit: float) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < limit:
        return None
    return float(value)


def _whole_number(value: Any, allowed: range) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value in allowed else None


def _usage(value: Any) -> dict[str, Any] | None:
    """Give the usage if it is small, also in depth; as text it is checked at once, however it is nested."""
    if not isinstance(value, dict) or len(value) > _USAGE_MAX_KEYS:
        return None
    try:
        text = _text(json.dumps(value, ensure_ascii=False)) or ""
    except RecursionError:
        return None
    if len(text.encode()) > _USAGE_MAX_BYTES or text.count("{") + text.count("[") > _USAGE_MAX_KEYS:
        return None
    usage: dict[str, Any] = _LENIENT.decode(text)  # numbers beyond a float's range become None
    return usage


def _most_used_model(usage: Any) -> str | None:
    if not isinstance(usage, dict):
        return None
    costs = {
        name: _number(of.get("costUSD"), _COST_MAX_USD) or 0.0 for name, of in usage.items() if isinstance(of, dict)
    }
    return _name(max(costs, key=lambda name: costs[name])) if costs else None


def _limit_resets_at(event: dict[str, Any] | None) -> float | None:
    info = event.get("rate_limit_info") if event else None
    return _number(info.get("resetsAt"), _EPOCH_MAX_S) if isinstance(info, dict) else None
