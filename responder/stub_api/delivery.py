"""How an answer goes over the wire: status, headers, pieces and pauses, decided before anything is written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from responder.stub_api.messages import Reply, error_document, message_document, stream_events


@dataclass(frozen=True)
class Delivery:
    """What the server has to do for one request.

    Attributes:
        status: The HTTP status.
        headers: The response headers.
        pieces: The body, in the pieces it is written in.
        content_length: The size announced, in bytes; None for an event stream, whose size is not announced.
        delay_s: Seconds before the first byte.
        piece_delay_s: Seconds between two pieces.
        is_silent: Nothing is sent; the request hangs.
        is_cut: The connection is closed after the last piece, before the body is complete.
    """

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes, ...] = field(repr=False)
    content_length: int | None = None
    delay_s: float = 0.0
    piece_delay_s: float = 0.0
    is_silent: bool = False
    is_cut: bool = False


def deliver_error(
    status: int, message: str | None = None, headers: dict[str, str] | None = None, delay_s: float = 0.0
) -> Delivery:
    """Decide how an error goes out; without a message it has a usual one."""
    body = json.dumps(error_document(status, message)).encode()
    return Delivery(
        status=status,
        headers={"content-type": "application/json"} | (headers or {}),
        pieces=(body,),
        content_length=len(body),
        delay_s=delay_s,
    )


def deliver(reply: Reply, *, stream: bool) -> Delivery:
    """Decide how an answer goes out: as an error, as an event stream or as one document."""
    answer = reply.answer
    if answer.status is not None:
        retry = {} if answer.retry_after_s is None else {"retry-after": str(answer.retry_after_s)}
        return deliver_error(answer.status, answer.message, retry | answer.headers, answer.delay_s)
    if stream:
        events = list(stream_events(reply))
        sent = events[: len(events) // 2] if answer.disconnect else events
        pieces = _pieces_of_stream(sent) if answer.chunk_delay_s else (b"".join(sent),)
    else:
        body = json.dumps(message_document(reply)).encode()
        pieces = (body[: len(body) // 2] if answer.disconnect else body,)
    return Delivery(
        status=200,
        headers={"content-type": "text/event-stream" if stream else "application/json"} | answer.headers,
        pieces=pieces,
        content_length=None if stream else len(body),
        delay_s=answer.delay_s,
        piece_delay_s=answer.chunk_delay_s,
        is_silent=answer.hang is True,
        is_cut=answer.disconnect,
    )


def _pieces_of_stream(events: Iterable[bytes]) -> tuple[bytes, ...]:
    """Join events so that every delta but the first begins a piece."""
    pieces = [b""]
    for event in events:
        if b"content_block_delta" in pieces[-1] and event.startswith(b"event: content_block_delta"):
            pieces.append(b"")
        pieces[-1] += event
    return tuple(pieces)
