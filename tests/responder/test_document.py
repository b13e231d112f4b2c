"""Reading the result document from what the CLI printed."""

import json
from typing import Any

import pytest

from responder.document import Document, read_document
from tests.responder.printed import ASSISTANT, INIT, RESULT, as_array, as_json, as_lines, result

WHOLE = Document(
    subtype="success",
    result="an answer",
    session_id=RESULT["session_id"],
    usage=RESULT["usage"],
    cost_usd=0.25,
    num_turns=1,
    model="claude-opus",
)


@pytest.mark.parametrize("printed", [as_json(RESULT), as_array(INIT, ASSISTANT, RESULT), as_lines(INIT, RESULT)])
def test_every_format_gives_the_same_document(printed: bytes) -> None:
    """An object, an array and lines say the same."""
    assert read_document(printed.decode()) == WHOLE


@pytest.mark.parametrize(
    "printed",
    [
        "",
        " \n",
        "null",
        "7",
        '"text"',
        "[]",
        "{}",
        "[[]]",
        "[null, 1]",
        "Error: something",
        json.dumps(INIT),
        json.dumps([INIT, ASSISTANT]),
        json.dumps(result(type="assistant")),
        json.dumps({"type": "result"}),
        json.dumps(result(is_error="false")),
        json.dumps(result(is_error=None)),
        json.dumps(result(is_error=0)),
        json.dumps([RESULT])[:-1],
        json.dumps(RESULT)[:-1],
        json.dumps(RESULT)[1:],
        as_lines(INIT, RESULT).decode()[:-3],
        "[" * 200_000,
        '{"type":' * 200_000,
        "[" * 50_000 + "]" * 50_000,
    ],
)
def test_what_holds_no_whole_result(printed: str) -> None:
    """Nothing, garbage, another event, a cut result and boundless nesting all give no document."""
    assert read_document(printed) is None


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_result_cut_anywhere_near_its_end_is_none(cut: int) -> None:
    """A document whose end is missing is never read as a shorter one."""
    printed = json.dumps(RESULT)
    assert read_document(printed[:-cut]) is None
    assert read_document(as_lines(INIT, ASSISTANT).decode() + printed[:-cut]) is None


def test_a_cut_line_after_the_result_does_not_matter() -> None:
    """The result line is whole, so what was cut behind it takes nothing away."""
    assert read_document(as_lines(INIT, RESULT).decode() + '{"type":"sys') == WHOLE


def test_lines_that_are_no_events_are_passed_over() -> None:
    """A warning among the lines does not hide the result."""
    printed = "warning: something\n[1]\nnull\n\n" + as_lines(RESULT).decode() + "bye\n"
    assert read_document(printed) == WHOLE


def test_a_line_nested_without_bound_is_passed_over() -> None:
    """One hostile line does not hide the result of the others."""
    assert read_document("[" * 200_000 + "\n" + as_lines(RESULT).decode()) == WHOLE


@pytest.mark.parametrize("form", [as_array, as_lines])
def test_the_last_result_counts(form: Any) -> None:
    """Of two results, the last one is the run's."""
    document = read_document(form(result(result="first"), INIT, RESULT).decode())
    assert document == WHOLE


def test_the_last_result_counts_even_if_it_is_unusable() -> None:
    """An earlier result does not stand in for a last one that says nothing."""
    assert read_document(as_array(RESULT, result(is_error=None)).decode()) is None


@pytest.mark.parametrize("form", [as_json, as_array, as_lines])
@pytest.mark.parametrize("text", ["\u2028\u2029", "\x85", "\u00e9\U0001f600", "\0\x1f", '{"type":"result"}', "a\nb"])
def test_an_answer_is_kept_to_the_character(form: Any, text: str) -> None:
    """Whatever stands in the answer stands in the document, also what other programs take for the end of a line."""
    document = read_document(form(INIT, result(result=text)).decode())
    assert document is not None
    assert document.result == text


ODD_FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"result": None}, {"result": ""}),
    ({"result": {"a": 1}}, {"result": ""}),
    ({"api_error_status": "429"}, {"api_status": None}),
    ({"api_error_status": True}, {"api_status": None}),
    ({"api_error_status": 429}, {"api_status": 429}),
    ({"session_id": 7}, {"session_id": None}),
    ({"usage": []}, {"usage": None}),
    ({"total_cost_usd": "1"}, {"cost_usd": None}),
    ({"total_cost_usd": True}, {"cost_usd": None}),
    ({"total_cost_usd": 1}, {"cost_usd": 1.0}),
    ({"num_turns": 1.5}, {"num_turns": None}),
    ({"num_turns": False}, {"num_turns": None}),
    ({"errors": None}, {"errors": ()}),
    ({"errors": ["a", "b"]}, {"errors": ("a", "b")}),
    ({"modelUsage": None}, {"model": None}),
    ({"modelUsage": {}}, {"model": None}),
    ({"modelUsage": {"m": "x"}}, {"model": None}),
    ({"modelUsage": {"m": {}}}, {"model": "m"}),
    ({"modelUsage": {"m": {"costUSD": "x"}, "n": {"costUSD": 0.1}}}, {"model": "n"}),
]


@pytest.mark.parametrize(("fields", "expected"), ODD_FIELDS, ids=[json.dumps(fields) for fields, _ in ODD_FIELDS])
def test_fields_of_another_type_are_left_out(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """A field that is not what it was does not break the reading of the others."""
    document = read_document(json.dumps(result(**fields)))
    assert document is not None
    assert {name: getattr(document, name) for name in expected} == expected
    assert document.is_error is False


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"resetsAt": 1_800_000_000}, 1_800_000_000.0),
        ({"resetsAt": "soon"}, None),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_the_end_of_a_rate_limit_comes_from_its_event(info: Any, expected: float | None) -> None:
    """In a stream the limit's end stands in an event of its own, the last of which counts."""
    earlier = {"type": "rate_limit_event", "rate_limit_info": {"resetsAt": 1}}
    event = {"type": "rate_limit_event", "rate_limit_info": info}
    document = read_document(as_lines(INIT, earlier, event, RESULT).decode())
    assert document is not None
    assert document.limit_resets_at == expected


def test_a_repr_shows_no_answer() -> None:
    """What the CLI said is not in the repr, which ends up in logs and test reports."""
    shown = repr(read_document(json.dumps(result(result="canary-5f1c9", errors=["canary-5f1c9"]))))
    assert "canary" not in shown
