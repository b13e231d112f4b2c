"""Reading what the CLI prints: the result document, in each of its output formats."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


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
        usage: Tokens.
        cost_usd: What the run cost.
        num_turns: Turns of the agent's loop.
        model: The model that was used most.
        limit_resets_at: When a rate limit ends, in seconds since the epoch, if the CLI says so.
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


def read_document(printed: str) -> Document | None:
    """Find the result in what the CLI printed.

    Args:
        printed: One JSON object (`json`), an array of events (`json` with `--verbose`) or a line for each event
            (`stream-json`).

    Returns:
        The document, or None when there is none or it is cut.
    """
    events = list(_events(printed))
    result = next((event for event in reversed(events) if event.get("type") == "result"), None)
    if result is None or not isinstance(result.get("is_error"), bool):
        return None
    return Document(
        is_error=result["is_error"],
        subtype=str(result.get("subtype", "")),
        result=result["result"] if isinstance(result.get("result"), str) else "",
        errors=tuple(map(str, result.get("errors") or ())),
        api_status=_of_type(result.get("api_error_status"), int),
        session_id=_of_type(result.get("session_id"), str),
        usage=_of_type(result.get("usage"), dict),
        cost_usd=_number(result.get("total_cost_usd")),
        num_turns=_of_type(result.get("num_turns"), int),
        model=_most_used_model(result.get("modelUsage")),
        limit_resets_at=_limit_resets_at(events),
    )


def _events(printed: str) -> Iterable[dict[str, Any]]:
    try:
        whole = json.loads(printed)
    except (ValueError, RecursionError):
        # Not splitlines(): it also breaks at U+2028, which JSON.stringify leaves as it is.
        return [event for event in map(_line, printed.split("\n")) if isinstance(event, dict)]
    return [event for event in (whole if isinstance(whole, list) else [whole]) if isinstance(event, dict)]


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _most_used_model(usage: Any) -> str | None:
    if not isinstance(usage, dict):
        return None
    costs = {name: _number(of.get("costUSD")) or 0.0 for name, of in usage.items() if isinstance(of, dict)}
    return max(costs, key=lambda name: costs[name]) if costs else None


def _limit_resets_at(events: list[dict[str, Any]]) -> float | None:
    for event in reversed(events):
        if event.get("type") == "rate_limit_event":
            return _number((_of_type(event.get("rate_limit_info"), dict) or {}).get("resetsAt"))
    return None
