"""Reading the result document from what the CLI printed."""

import json
import time
import tracemalloc
from dataclasses import replace
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
AMONG_OTHERS = replace(WHOLE, is_alone=False)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (as_json(RESULT), WHOLE),
        (as_array(INIT, ASSISTANT, RESULT), WHOLE),
        (as_lines(INIT, RESULT), AMONG_OTHERS),
        (json.dumps(RESULT, indent=1).encode(), WHOLE),
        (json.dumps([INIT, RESULT], indent=1).encode(), WHOLE),
    ],
)
def test_every_format_gives_the_same_document(printed: bytes, expected: Document) -> None:
    """An object, an array and lines say the same; lines are no JSON as a whole."""
    assert read_document(printed.decode()) == expected


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
    assert read_document(as_lines(INIT, RESULT).decode() + '{"type":"sys') == AMONG_OTHERS


def test_lines_that_are_no_events_are_passed_over() -> None:
    """A warning among the lines does not hide the result."""
    printed = "warning: something\n[1]\nnull\n\n" + as_lines(RESULT).decode() + "bye\n"
    assert read_document(printed) == AMONG_OTHERS


def test_a_line_nested_without_bound_is_passed_over() -> None:
    """One hostile line does not hide the result of the others."""
    assert read_document("[" * 200_000 + "\n" + as_lines(RESULT).decode()) == AMONG_OTHERS


@pytest.mark.parametrize("form", [as_array, as_lines])
def test_the_last_result_counts(form: Any) -> None:
    """Of two results, the last one is the run's."""
    document = read_document(form(result(result="first"), INIT, RESULT).decode())
    assert document is not None
    assert replace(document, is_alone=True) == WHOLE


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
    ({"total_cost_usd": -0.5}, {"cost_usd": None}),
    ({"total_cost_usd": 1_000_000}, {"cost_usd": None}),
    ({"total_cost_usd": 10**400}, {"cost_usd": None}),
    ({"num_turns": 10**400}, {"num_turns": None}),
    ({"num_turns": -1}, {"num_turns": None}),
    ({"api_error_status": 10**400}, {"api_status": None}),
    ({"api_error_status": -1}, {"api_status": None}),
    ({"session_id": "s" * 257}, {"session_id": None}),
    ({"subtype": 7}, {"subtype": ""}),
    ({"num_turns": 1.5}, {"num_turns": None}),
    ({"num_turns": False}, {"num_turns": None}),
    ({"errors": None}, {"errors": ()}),
    ({"errors": 5}, {"errors": ()}),
    ({"errors": True}, {"errors": ()}),
    ({"errors": "ab"}, {"errors": ()}),
    ({"errors": {"a": 1}}, {"errors": ()}),
    ({"errors": ["a", 5, None, {}]}, {"errors": ("a",)}),
    ({"errors": ["a", "b"]}, {"errors": ("a", "b")}),
    ({"modelUsage": None}, {"model": None}),
    ({"modelUsage": {}}, {"model": None}),
    ({"modelUsage": {"m": "x"}}, {"model": None}),
    ({"modelUsage": {"m": {"costUSD": 10**400}, "n": {"costUSD": 0.1}}}, {"model": "n"}),
    ({"modelUsage": {"m" * 257: {}}}, {"model": None}),
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
        ({"resetsAt": float("inf")}, None),
        ({"resetsAt": float("nan")}, None),
        ({"resetsAt": 10**400}, None),
        ({"resetsAt": -1}, None),
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


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("\\ud83d", "\ufffd"),
        ("\\ude00!", "\ufffd!"),
        ("a\\ud83db", "a\ufffdb"),
        ("\\ude00\\ud83d", "\ufffd\ufffd"),
        ("\\ud83d\\ude00", "\U0001f600"),
        ("\\ufeffa\\ud83d", "\ufeffa\ufffd"),
    ],
)
def test_text_is_always_unicode(escaped: str, text: str) -> None:
    """Half a surrogate pair is replaced wherever a text stands, keys included, and all around it is kept."""
    fields = {
        "result": "#",
        "session_id": "#",
        "subtype": "#",
        "errors": ["#"],
        "usage": {"#": ["#", {"a": "#"}]},
        "modelUsage": {"#": {"costUSD": 1}},
    }
    printed = json.dumps(result(**fields)).replace("#", escaped)
    expected = {
        "result": text,
        "session_id": text,
        "subtype": text,
        "errors": (text,),
        "usage": {text: [text, {"a": text}]},
        "model": text,
    }
    for document in (read_document(printed), read_document(f"warning\n{printed}")):
        assert document is not None
        assert {name: getattr(document, name) for name in expected} == expected


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_are_finite(number: str) -> None:
    """What no JSON can say is not read as a number; where it is no JSON either, the output is not whole."""
    printed = json.dumps(result(total_cost_usd="#", usage={"a": ["#"]}, num_turns="#")).replace('"#"', number)
    document = read_document(printed)
    assert document is not None
    assert (document.cost_usd, document.usage, document.num_turns) == (None, {"a": [None]}, None)
    assert document.is_alone is (number[-1] == "9")


@pytest.mark.parametrize(
    ("usage", "is_kept"),
    [
        ({f"k{number}": 1 for number in range(64)}, True),
        ({f"k{number}": 1 for number in range(65)}, False),
        ({"a": "x" * 8000}, True),
        ({"a": "x" * 8192}, False),
        ({"a": "\u20ac" * 3000}, False),
        ({"a": [{}] * 62}, True),
        ({"a": [{}] * 63}, False),
    ],
)
def test_a_large_usage_is_left_out(usage: dict[str, Any], is_kept: bool) -> None:
    """More keys, bytes or parts than a reply should carry are not carried at all."""
    document = read_document(json.dumps(result(usage=usage)))
    assert document is not None
    assert document.usage == (usage if is_kept else None)


def test_a_usage_nested_without_bound_is_left_out() -> None:
    """A usage that no reply could be made of does not hide the result."""
    deep = "[" * 900 + "]" * 900
    document = read_document(json.dumps(result(usage={"a": "#"})).replace('"#"', deep))
    assert document is not None
    assert (document.result, document.usage) == (RESULT["result"], None)


@pytest.mark.parametrize(
    ("fields", "has_answer"),
    [
        ({}, True),
        ({"result": ""}, True),
        ({"result": None}, False),
        ({"result": 5}, False),
        ({"result": None, "structured_output": None}, False),
        ({"result": None, "structured_output": {}}, True),
        ({"result": None, "structured_output": False}, True),
    ],
)
def test_an_answer_is_text_or_structured(fields: dict[str, Any], has_answer: bool) -> None:
    """An empty text is an answer, and so is any structured output; nothing is none."""
    document = read_document(json.dumps(result(**fields)))
    assert document is not None
    assert document.has_answer is has_answer


WHOLE_OBJECT = json.dumps(RESULT)


@pytest.mark.parametrize(
    ("printed", "is_alone"),
    [
        (f" \r\n\t{WHOLE_OBJECT}\n\n", True),
        (f"{WHOLE_OBJECT}x", None),
        (f"{WHOLE_OBJECT}\njunk", False),
        (f"warning\n{WHOLE_OBJECT}\n", False),
        (f"{WHOLE_OBJECT}\n{WHOLE_OBJECT}\n", False),
        (f"\ufeff\n{WHOLE_OBJECT}", False),
        (f"{WHOLE_OBJECT}\u2028", None),
        (f"[{WHOLE_OBJECT}]]", None),
        (f"[{WHOLE_OBJECT},]", None),
        (f"[,{WHOLE_OBJECT}]", None),
        (f"[{WHOLE_OBJECT} {WHOLE_OBJECT}]", None),
        (f"[{WHOLE_OBJECT},null,[1],7 ]\n", True),
    ],
)
def test_what_stands_around_the_result_is_told(printed: str, is_alone: bool | None) -> None:
    """A result on a line of its own is found among junk, and it is told that there was junk."""
    document = read_document(printed)
    assert (None if document is None else document.is_alone) is is_alone


def test_the_limits_event_may_stand_anywhere() -> None:
    """The last rate limit event is found in lines before and after the result, and in an array."""
    event = {"type": "rate_limit_event", "rate_limit_info": {"resetsAt": 1_800_000_000}}
    for printed in (as_lines(event, *[ASSISTANT] * 1000, RESULT), as_lines(RESULT, event), as_array(event, RESULT)):
        document = read_document(printed.decode())
        assert document is not None
        assert document.limit_resets_at == 1_800_000_000


HOSTILE = {
    "newlines": "\n",
    "blank lines": " \n",
    "openings": "\n{",
    "markers": '{"result"\n',
    "limits": '{"rate_limit_event"\n',
    "small objects": '{"type":"x"}\n',
    "one line of objects": "{} ",
    "an array": "{},",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_megabytes_of_nothing_cost_little(name: str) -> None:
    """Eight megabytes of rubbish, alone or before a result, take neither seconds nor a multiple of their size."""
    rubbish = HOSTILE[name] * (8_000_000 // len(HOSTILE[name]))
    printed = f"[{rubbish}" if name == "an array" else rubbish
    with_result = f"{printed}\n{WHOLE_OBJECT}\n"
    tracemalloc.start()
    started_at = time.process_time()
    try:
        assert read_document(printed) is None
        found = read_document(with_result)
        taken_s, peak_bytes = time.process_time() - started_at, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.result == RESULT["result"]
    assert peak_bytes < 4_000_000
    assert taken_s < 10


def test_an_array_is_read_one_event_at_a_time() -> None:
    """A verbose run's array costs the memory of its largest event, not of all."""
    printed = as_array(*[{"type": "x", "parts": [{}] * 200}] * 5000, RESULT).decode()
    tracemalloc.start()
    try:
        document = read_document(printed)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert document == WHOLE
    assert peak_bytes < 1_000_000
