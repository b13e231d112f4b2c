"""Asks the stub as the CLI does, and reads its answers."""

import io
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from responder.stub_api.server import StubAPI


@dataclass(frozen=True)
class Answered:
    """What came back: the HTTP status, the response headers in lower case and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The data of the body's server-sent events."""
        return read_events(self.body)

    @property
    def text(self) -> str:
        """The text deltas joined."""
        return text_of(self.events)


def read_events(stream: bytes) -> list[dict[str, Any]]:
    """Read the data of server-sent events; the name on the event line must be the data's type."""
    events = []
    for event in stream.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        events.append(fields)
    return events


def text_of(events: list[dict[str, Any]]) -> str:
    """Join the text deltas."""
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


def a_body(prompt: str = "hello", *, model: str = "claude-opus-4-8", stream: bool = True) -> dict[str, Any]:
    """Give a request with one prompt, beside the note that the CLI puts first."""
    note = {"type": "text", "text": "<system-reminder>\nToday's date is 2026-11-22.\n</system-reminder>\n\n"}
    content = [note, {"type": "text", "text": prompt}]
    messages = [{"role": "user", "content": content}, {"role": "system", "content": "Available agent types"}]
    return {"model": model, "max_tokens": 100, "stream": stream, "messages": messages}


def a_follow_up(tool_use: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Give the request that brings a tool's result."""
    result = {"type": "tool_result", "tool_use_id": tool_use["id"], "content": "hi", "is_error": False}
    turns = [{"role": "assistant", "content": [tool_use]}, {"role": "user", "content": [result]}]
    return body | {"messages": [*body["messages"], *turns]}


async def ask(
    api: StubAPI, body: dict[str, Any] | bytes | None = None, path: str = "/v1/messages?beta=true"
) -> Answered:
    """Post a body and read the whole answer, on a connection of its own."""
    raw = body if isinstance(body, bytes) else json.dumps(a_body() if body is None else body).encode()
    headers = {"x-api-key": "dummy", "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(api.url + path, data=io.BytesIO(raw), headers=headers) as response,
    ):
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answered(response.status, names, await response.read())
