"""What a CLI prints for one request: which of it is the output, when it is over, and what could outlast it."""

import json

import pytest

from responder.renewal import Spent
from responder.run import StopReason
from responder.turn import Answer, Turn

ASSISTANT = b'{"type":"assistant","message":{"content":[]}}\n'
CRON = b'{"type":"assistant","message":{"content":[{"type":"tool_use","name":"CronCreate"}]}}\n'
RESULT = b'{"type":"result","is_error":false,"total_cost_usd":1.5}\n'
FAILED = b'{"type":"result","is_error":true}\n'
SPENT = Spent("s", 1.0, 0, {})


def answer(*, is_stream: bool = True, output_max_bytes: int = 1000, spent: Spent | None = None) -> Answer:
    return Answer(output_max_bytes, is_stream=is_stream, spent=spent)


async def test_a_stream_is_all_events() -> None:
    """Of a stream every event up to the result is the output, which is over with it."""
    heard = answer()
    heard.take(ASSISTANT, "assistant")
    assert not heard.heard.done()
    assert (heard.printed, heard.result) == (ASSISTANT, b"")
    heard.take(RESULT, "result")
    assert not heard.has_gone_on
    heard.take(ASSISTANT, "assistant")
    assert heard.has_gone_on
    heard.take(FAILED, "result")
    assert heard.heard.result() is None
    assert (heard.printed, heard.result, heard.exit_status) == (ASSISTANT + RESULT, RESULT, 0)


async def test_a_document_is_the_result() -> None:
    """Where no stream is asked for the result alone is the output."""
    heard = answer(is_stream=False)
    heard.take(ASSISTANT, "assistant")
    assert heard.printed == b""
    heard.take(FAILED, "result")
    assert (heard.printed, heard.result, heard.exit_status) == (FAILED, FAILED, 1)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_what_others_have_used(is_stream: bool) -> None:
    """A result has what this request has used, in every form; other events stay as they are."""
    heard = answer(is_stream=is_stream, spent=SPENT)
    event = b'{"type":"assistant","total_cost_usd":1.5}\n'
    heard.take(event, "assistant")
    heard.take(RESULT, "result")
    assert json.loads(heard.result)["total_cost_usd"] == 0.5
    assert heard.printed == (event if is_stream else b"") + heard.result


async def test_what_may_outlast_it() -> None:
    """One event that may outlast the request is remembered, whatever comes after it; one after the result is not."""
    heard = answer()
    heard.take(ASSISTANT, "assistant")
    assert heard.is_forgettable
    heard.take(CRON, "assistant")
    heard.take(ASSISTANT, "assistant")
    heard.take(RESULT, "result")
    assert not heard.is_forgettable
    heard = answer()
    heard.take(RESULT, "result")
    heard.take(CRON, "assistant")
    assert heard.is_forgettable


async def test_too_much() -> None:
    """An output over the limit is over, be it by the result; what is no output has no limit."""
    exact = answer(output_max_bytes=len(RESULT))
    exact.take(RESULT, "result")
    assert exact.heard.result() is None
    for kind in ("result", "assistant"):
        heard = answer(output_max_bytes=len(RESULT) - 1)
        heard.take(RESULT, kind)
        assert heard.heard.result() is StopReason.OUTPUT_TOO_LARGE
    heard = answer(is_stream=False, output_max_bytes=1)
    heard.take(ASSISTANT, "assistant")
    assert not heard.heard.done()


async def test_the_first_reason_stays() -> None:
    """What has ended it first is why it has ended."""
    heard = answer()
    heard.hear(StopReason.OUTPUT_TOO_LARGE)
    heard.hear(None)
    assert heard.heard.result() is StopReason.OUTPUT_TOO_LARGE
    heard.take(RESULT, "result")
    assert heard.printed == b""


async def test_who_listens() -> None:
    """Whole lines of a stream are heard with their places; of a document, and after a defect, nothing is."""
    told: list[tuple[int, bytes]] = []
    heard = Answer(1000, is_stream=True, on_output=lambda offset, line: told.append((offset, line)), spent=SPENT)
    heard.take(ASSISTANT, "assistant")
    heard.take(RESULT, "result")
    assert told == [(0, ASSISTANT), (len(ASSISTANT), heard.result)]
    heard = Answer(1, is_stream=True, on_output=lambda offset, line: told.append((offset, line)))
    heard.take(ASSISTANT, "assistant")  # too much
    heard = Answer(1000, is_stream=False, on_output=lambda offset, line: told.append((offset, line)))
    heard.take(RESULT, "result")
    assert len(told) == 2

    def fail(_offset: int, _line: bytes) -> None:
        raise ZeroDivisionError

    heard = Answer(1000, is_stream=True, on_output=fail)
    heard.take(ASSISTANT, "assistant")
    with pytest.raises(ZeroDivisionError):
        heard.heard.result()
    heard.take(RESULT, "result")
    assert heard.printed == ASSISTANT


def test_a_prompt_is_not_shown() -> None:
    """What is asked is in no log by its repr."""
    assert "canary" not in repr(Turn("canary", {}, 0.0))
