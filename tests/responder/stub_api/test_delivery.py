"""How an answer goes out: pieces, pauses and the way it ends."""

import json

from responder.stub_api.delivery import Delivery, deliver
from responder.stub_api.messages import Reply
from responder.stub_api.script import Answer
from tests.responder.stub_api.asking import read_events, text_of


def _deliver(answer: Answer, *, stream: bool = True) -> Delivery:
    return deliver(Reply("msg_1", "claude-opus-4-8", "hello", answer), stream=stream)


def test_a_stream_without_pauses_is_one_piece() -> None:
    """Writing a large answer costs one write."""
    delivery = _deliver(Answer(chunk_chars=1))
    assert len(delivery.pieces) == 1
    assert (delivery.status, delivery.content_length) == (200, None)
    assert delivery.headers["content-type"] == "text/event-stream"


def test_a_stream_with_pauses_has_a_piece_for_each_delta() -> None:
    """The first piece opens the message, the last one ends it, and each holds one delta."""
    delivery = _deliver(Answer(chunk_chars=2, chunk_delay_s=0.5))
    assert [text_of(read_events(piece)) for piece in delivery.pieces] == ["he", "ll", "o"]
    assert read_events(delivery.pieces[0])[0]["type"] == "message_start"
    assert read_events(delivery.pieces[-1])[-1]["type"] == "message_stop"
    assert delivery.piece_delay_s == 0.5


def test_a_cut_stream_ends_in_the_middle() -> None:
    """It has begun and is not complete."""
    delivery = _deliver(Answer(disconnect=True, chunk_chars=1))
    types = [event["type"] for event in read_events(b"".join(delivery.pieces))]
    assert delivery.is_cut
    assert types[0] == "message_start"
    assert types[-1] == "content_block_delta"


def test_a_cut_document_is_shorter_than_announced() -> None:
    """The reader can tell that something is missing."""
    delivery = _deliver(Answer(disconnect=True), stream=False)
    assert delivery.is_cut
    assert 0 < len(delivery.pieces[0]) < (delivery.content_length or 0)


def test_a_document_announces_its_size() -> None:
    """An answer without a stream is JSON of known length."""
    delivery = _deliver(Answer(), stream=False)
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.content_length == len(delivery.pieces[0])
    assert json.loads(delivery.pieces[0])["content"][0]["text"] == "hello"


def test_an_error_carries_its_headers() -> None:
    """The pause that the API asks for stands in a header, beside the script's own."""
    delivery = _deliver(
        Answer(status=429, retry_after_s=3, headers={"x-should-retry": "true"}, delay_s=0.5, message="why")
    )
    assert delivery.status == 429
    assert delivery.headers["retry-after"] == "3"
    assert delivery.headers["x-should-retry"] == "true"
    assert delivery.delay_s == 0.5
    assert json.loads(delivery.pieces[0])["error"] == {"type": "rate_limit_error", "message": "why"}


def test_an_error_has_no_retry_header_unless_asked() -> None:
    """Zero seconds are written, None is not."""
    assert "retry-after" not in _deliver(Answer(status=429)).headers
    assert _deliver(Answer(status=429, retry_after_s=0)).headers["retry-after"] == "0"


def test_delay_and_silence_are_passed_on() -> None:
    """The server waits before the first byte, or for ever."""
    assert _deliver(Answer(delay_s=0.5)).delay_s == 0.5
    assert _deliver(Answer(hang=True)).is_silent
    assert not _deliver(Answer()).is_silent
