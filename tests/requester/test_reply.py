"""What a caller reads in a reply."""

import json
import pickle
from typing import Any

import pytest

from requester import OutputInvalidError, Reply
from requester.reply import output_format, read_reply
from tests.requester.fakes import CANARY, DOCUMENT, success

STREAM = (
    '{"type":"system","subtype":"init"}\n{"type":"assistant","message":"a\u2028b"}\n' + DOCUMENT + '{"type":"late"}\n'
)


def read(result: str, args: list[str] | None = None, **more: Any) -> Reply:
    return read_reply(success("x", result, **more), args, attempts=2, duration_s=1.75)


def test_the_json_document() -> None:
    """By default the text is the document's result, and the reply's facts are the responder's."""
    reply = read(DOCUMENT, usage={"output_tokens": 3})
    assert (reply.text, reply.raw, reply.session_id, reply.responder) == ("four", DOCUMENT, "s-1", "r1")
    assert (reply.cost_usd, reply.usage, reply.request_id) == (0.25, {"output_tokens": 3}, "x")
    assert (reply.attempts, reply.duration_s, reply.execution_s, reply.wait_s) == (2, 1.75, 1.5, 0.04)


def test_the_list_of_a_verbose_run() -> None:
    """With --verbose the json format is a list of events, the document is one of them."""
    assert read(f'[{{"type":"system"}},{DOCUMENT}]', ["--verbose", "--output-format", "json"]).text == "four"


def test_the_stream() -> None:
    """In a stream the result event is found, wherever it stands and whatever characters stand in strings."""
    args = ["-p", "--output-format=stream-json", "--verbose"]
    assert read(STREAM, args).text == "four"
    assert read(STREAM.replace("four", "a\u2028b"), args).text == "a\u2028b"


def test_plain_text() -> None:
    """In the text format the answer is what was printed, also when it looks like a document."""
    assert read(DOCUMENT, ["--output-format=text"]).text == DOCUMENT
    assert read("four\n", ["--output-format", "text"]).text == "four\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (None, "json"),
        ([], "json"),
        (["--model", "sonnet"], "json"),
        (["--output-format", "json", "--output-format=text"], "text"),
        (["--output-format"], "json"),
        (["--output-format", "stream-json"], "stream-json"),
    ],
)
def test_the_format_is_what_was_asked_for(args: list[str] | None, expected: str) -> None:
    """The format follows from the arguments, the last one wins, and it is never guessed from the answer."""
    assert output_format(args) == expected


@pytest.mark.parametrize(
    "printed", ["", CANARY, "[]", '{"type":"result"}', '{"type":"assistant","result":"x"}', "[" * 9999]
)
def test_not_the_promised_document(printed: str) -> None:
    """What the format does not promise is an error that says so and does not show it."""
    with pytest.raises(OutputInvalidError) as caught:
        read(printed)
    assert CANARY not in str(caught.value)
    assert (caught.value.request_id, caught.value.responder, caught.value.cost_usd) == ("x", "r1", 0.25)


def test_json_prefers_the_structured_output() -> None:
    """Where the CLI gave structured output, that is the JSON, also when it is false or empty."""
    document = {"type": "result", "result": "{}", "structured_output": {"answer": 4}}
    assert read(json.dumps(document)).json() == {"answer": 4}
    assert read(json.dumps(document | {"structured_output": False})).json() is False


def test_json_parses_the_text() -> None:
    """Without structured output the text itself is parsed."""
    assert read('{"type":"result","result":"{\\"answer\\": 4}"}').json() == {"answer": 4}


def test_json_of_something_else() -> None:
    """A text that is not JSON is an error that names its length and shows nothing of it, nor does its traceback."""
    with pytest.raises(OutputInvalidError, match="18 characters") as caught:
        read(f'{{"type":"result","result":"{CANARY}"}}').json()
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.executed is True


def test_a_repr_keeps_the_answer_to_itself() -> None:
    """The repr is for the person on call: who, how long, how much; not what."""
    reply = read(f'{{"type":"result","result":"{CANARY}"}}')
    assert CANARY not in repr(reply)
    assert repr(reply) == "<Reply x of 18 characters from r1 in 1.8 s, cost_usd=0.25, attempts=2>"


def test_a_reply_crosses_process_borders() -> None:
    """A reply can be a task's result."""
    reply = read(DOCUMENT)
    assert pickle.loads(pickle.dumps(reply)) == reply  # noqa: S301 # our own bytes
