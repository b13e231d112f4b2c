"""The lines that go to and come from a CLI that reads and prints stream-json. Pure."""

import json
import re
from collections.abc import Mapping

_TYPE = re.compile(rb'\{"type":"([a-z_]+)"')
_IS_ERROR = re.compile(rb'"is_error": ?true')


def control(name: str, variables: Mapping[str, str] | None = None) -> bytes:
    """Give the line that sets environment variables; without any it is just answered, once the CLI has started."""
    settings = {} if variables is None else {"env": dict(variables)}
    request = {"subtype": "apply_flag_settings", "settings": settings}
    return json.dumps({"type": "control_request", "request_id": name, "request": request}).encode() + b"\n"


def message(text: str) -> bytes:
    """Give the line by which a user says something."""
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


def kind_of(line: bytes) -> str | None:
    """Give the type of an event; that it stands first is of the CLI's making, and no promise."""
    if (found := _TYPE.match(line)) is not None:
        return found[1].decode()
    kind = event_of(line).get("type")
    return kind if isinstance(kind, str) else None


def event_of(line: bytes) -> dict[str, object]:
    """Read an event; what is none has no keys."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def is_error(result: bytes) -> bool:
    """Say whether a result is an error, which stands near its beginning."""
    return _IS_ERROR.search(result[:1024]) is not None
