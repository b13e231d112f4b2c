"""What `/clear` forgets, when it has worked, and what one request has used of what a CLI has in all."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder.renewal import CLEAR, Spent, is_forgotten, spent_at_clear, without

FORGOTTEN = ("Bash", "Edit", "Glob", "Grep", "Read", "StructuredOutput", "Write")
REMEMBERED = ("CronCreate", "Task", "Agent", "Skill", "TodoWrite", "WebFetch", "mcp__server__Bash", "bash", "Bash ", "")
NOTHING_BEFORE = Spent("n", 0.0, 0, {})


def event(*content: object, **more: object) -> bytes:
    """Give an assistant's event, as the CLI prints it."""
    document = {"type": "assistant", "message": {"content": list(content)}, "parent_tool_use_id": None, **more}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def use(name: object, kind: str = "tool_use") -> dict[str, object]:
    return {"type": kind, "id": "t", "name": name, "input": {}}


def text(said: str) -> dict[str, object]:
    return {"type": "text", "text": said}


def test_the_command() -> None:
    """What makes a CLI forget is its command for that."""
    assert CLEAR == "/clear"


# What is forgotten.


@pytest.mark.parametrize("name", FORGOTTEN)
def test_tools_that_keep_nothing(name: str) -> None:
    """The use of a tool that was seen to keep nothing is forgotten, alone, among others, and beside texts."""
    assert is_forgotten(event(use(name)), "assistant")
    assert is_forgotten(event(use(name), text("tool_use"), *map(use, FORGOTTEN)), "assistant")


@pytest.mark.parametrize("name", [*REMEMBERED, None, 1, "Bash\0"])
def test_tools_that_may_keep_something(name: object) -> None:
    """That of any other is not, wherever it stands among others."""
    assert not is_forgotten(event(use(name)), "assistant")
    assert not is_forgotten(event(use("Bash"), use(name)), "assistant")
    assert not is_forgotten(event(use(name), use("Bash")), "assistant")
    assert not is_forgotten(event(text("x"), use(name), text("y")), "assistant")


@pytest.mark.parametrize("kind", ["server_tool_use", "mcp_tool_use", "new_tool_use"])
def test_uses_of_other_kinds(kind: str) -> None:
    """What the API or a server of tools does is a use too."""
    assert not is_forgotten(event(use("web_search", kind)), "assistant")
    assert is_forgotten(event(use("Bash", kind)), "assistant")


def test_a_name_is_no_use() -> None:
    """What only speaks of a tool, or has one's name, uses none."""
    assert is_forgotten(event(text("CronCreate tool_use"), {"type": "thinking", "name": "CronCreate"}), "assistant")
    assert is_forgotten(event(text('{"type":"tool_use","name":"CronCreate"}')), "assistant")
    assert is_forgotten(event({"type": "tool_use_of_old", "name": "CronCreate"}), "assistant")
    assert is_forgotten(event({"name": "CronCreate"}), "assistant")


def test_names_that_are_escaped() -> None:
    """A name is what it means, however it is written."""
    assert not is_forgotten(event(use("CronCreate")).replace(b"Cron", b"\\u0043ron"), "assistant")
    assert is_forgotten(event(use("Bash")).replace(b"Bash", b"\\u0042ash"), "assistant")


@pytest.mark.parametrize("kind", ["system", "user", "result", "stream_event", None])
def test_other_events_use_nothing(kind: str | None) -> None:
    """Only the assistant uses tools: what others say of it is no use."""
    assert is_forgotten(event(use("CronCreate")), kind)
    assert is_forgotten(b"tool_use, no JSON", kind)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"assistant","message":{"content":[{"type":"tool_use"',
        b'{"type":"assistant","message":"tool_use"}',
        b'{"type":"assistant","tool_use":1}',
        b'{"type":"assistant","message":{"content":"tool_use"}}',
        b'{"type":"assistant","message":{"content":{"type":"tool_use","name":"Bash"}}}',
        b'{"type":"assistant","message":{"content":["tool_use"]}}',
        b'["tool_use"]',
        b'{"message":' + b"[" * 100_000 + b'"tool_use"',
        b'\xff{"tool_use":1}',
    ],
)
def test_what_cannot_be_read_is_not_forgotten(line: bytes) -> None:
    """An event of the assistant that could be a use, and cannot be read, counts as one that is kept."""
    assert not is_forgotten(line, "assistant")


def test_an_event_without_any_use() -> None:
    """What has no word of a use is not read at all."""
    assert is_forgotten(b'{"type":"assistant", broken', "assistant")


# When it has worked.

BEFORE = b'{"type":"result","session_id":"s1","result":"x"}\n'
CLEARED = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_api_ms": 70,
    "num_turns": 0,
    "result": "",
    "session_id": "s2",
    "total_cost_usd": 0.25,
    "modelUsage": {"m": {"inputTokens": 3}},
    "more": 1,
}


def read(before: bytes = BEFORE, **changed: Any) -> Spent | None:
    """Read the result of `/clear` with some of it changed; what is `...` is left out."""
    document = {name: value for name, value in {**CLEARED, **changed}.items() if value is not ...}
    return spent_at_clear(json.dumps(document).encode(), before)


def test_what_it_has_spent_by_then() -> None:
    """A result of `/clear` tells the new session and what was used so far."""
    assert read() == Spent("s2", 0.25, 70, {"m": {"inputTokens": 3}})
    assert read(total_cost_usd=0, duration_api_ms=0, modelUsage={}) == Spent("s2", 0, 0, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, ...) for name in CLEARED if name not in {"type", "more"}),
        ("subtype", "error_during_execution"),
        ("is_error", True),
        ("is_error", 0),
        ("num_turns", 1),
        ("num_turns", "0"),
        ("result", "hello"),
        ("result", None),
        ("session_id", "s1"),
        ("session_id", None),
        ("session_id", 7),
        ("total_cost_usd", "0.25"),
        ("total_cost_usd", None),
        ("duration_api_ms", 70.5),
        ("duration_api_ms", None),
        ("modelUsage", None),
        ("modelUsage", []),
        ("modelUsage", {"m": {}, "n": 1}),
    ],
)
def test_no_result_of_clear(name: str, value: Any) -> None:
    """What lacks any of it, or is of a turn, of the same session, or of an error, is none."""
    assert read(**{name: value}) is None


@pytest.mark.parametrize("line", [b"", b"[]", b"null", b"no JSON", b"[" * 100_000, json.dumps(CLEARED).encode()[:-1]])
def test_no_result_at_all(line: bytes) -> None:
    """What is no object is no result of `/clear`."""
    assert spent_at_clear(line, BEFORE) is None


@pytest.mark.parametrize("before", [b"", b"{}", b'{"session_id":null}', b'{"session_id":7}', b"[" * 100_000])
def test_the_session_before_is_not_known(before: bytes) -> None:
    """A session that cannot be told from the one before is not new."""
    assert read(before=before) is None


# What is taken off.

SPENT = Spent(
    "s2",
    0.25,
    70,
    {
        "m": {
            "inputTokens": 10,
            "outputTokens": 20,
            "cacheReadInputTokens": 30,
            "cacheCreationInputTokens": 40,
            "webSearchRequests": 1,
            "costUSD": 0.25,
            "contextWindow": 200_000,
        },
        "old": {"inputTokens": 5, "costUSD": 0.5},
    },
)


def less(document: str) -> str:
    return without(document.encode(), SPENT).decode()


def test_every_counter() -> None:
    """Costs, times and each counter of each model are what was used since; what counts nothing stays."""
    model = {
        "inputTokens": 11,
        "outputTokens": 22,
        "cacheReadInputTokens": 33,
        "cacheCreationInputTokens": 44,
        "webSearchRequests": 6,
        "costUSD": 0.375,
        "contextWindow": 200_000,
        "maxOutputTokens": 32_000,
    }
    printed = json.loads(
        less(json.dumps({"total_cost_usd": 1.0, "duration_api_ms": 75, "duration_ms": 90, "modelUsage": {"m": model}}))
    )
    assert printed == {
        "total_cost_usd": 0.75,
        "duration_api_ms": 5,
        "duration_ms": 90,
        "modelUsage": {
            "m": {
                "inputTokens": 1,
                "outputTokens": 2,
                "cacheReadInputTokens": 3,
                "cacheCreationInputTokens": 4,
                "webSearchRequests": 5,
                "costUSD": 0.125,
                "contextWindow": 200_000,
                "maxOutputTokens": 32_000,
            }
        },
    }
    assert isinstance(printed["duration_api_ms"], int)
    assert isinstance(printed["modelUsage"]["m"]["inputTokens"], int)


def test_models() -> None:
    """A model that was not used since is left out; a new one stays as it is, and so does what is none."""
    assert less('{"modelUsage":{"old":{"inputTokens":5,"costUSD":0.5},"new":{"inputTokens":5}}}') == (
        '{"modelUsage":{"new":{"inputTokens":5}}}'
    )
    assert less('{"modelUsage":{"old":{"inputTokens":6,"costUSD":0.5}}}') == (
        '{"modelUsage":{"old":{"inputTokens":1,"costUSD":0.0}}}'
    )
    assert less('{"modelUsage":{"old":7,"m":null}}') == '{"modelUsage":{"old":7,"m":null}}'
    assert less('{"modelUsage":{"old":{"webSearchRequests":2,"inputTokens":5}}}') == (
        '{"modelUsage":{"old":{"webSearchRequests":2,"inputTokens":0}}}'
    )


def test_what_was_no_number_before() -> None:
    """A counter that was no number before is not taken off."""
    spent = Spent("s", 0.0, 0, {"m": {"inputTokens": None, "costUSD": "1"}})
    line = b'{"modelUsage":{"m":{"inputTokens":2,"costUSD":0.5}}}'
    assert without(line, spent) == line


def test_no_longer_than_a_token() -> None:
    """Differences of costs have no digits that only arithmetic has made."""
    spent = Spent("s", 0.1, 0, {"m": {"costUSD": 0.1}})
    line = b'{"total_cost_usd":0.30000000000000004,"modelUsage":{"m":{"costUSD":0.300000001}}}'
    assert without(line, spent) == b'{"total_cost_usd":0.2,"modelUsage":{"m":{"costUSD":0.200000001}}}'


@pytest.mark.parametrize(
    "line",
    [
        '{"result":"x","structured_output":{"total_cost_usd":1.0,"duration_api_ms":80,"modelUsage":{"old":{}}}}',
        '{"result":"{\\"total_cost_usd\\":1.0}"}',
        '{"Total_cost_usd":1.0,"duration_ms":80,"usage":{"inputTokens":10},"model_usage":{}}',
        '{"total_cost_usd":"1.0","duration_api_ms":null,"modelUsage":[]}',
        '{"total_cost_usd":{"total_cost_usd":1.0},"modelUsage":7}',
        "{}",
        "[]",
        "",
        "no JSON",
        '{"result"',
        '{"result":',
        "[" * 100_000,
        '{"a":' + "[" * 100_000,
        ' "total_cost_usd":1.0',
        '["total_cost_usd":1.0]',
    ],
)
def test_nothing_to_take_off(line: str) -> None:
    """What is deeper, is text, has another name, is no number, or no JSON stays to the byte."""
    assert less(line) == line


def test_other_bytes_stay() -> None:
    """Around what is changed every byte stays: odd numbers, lone surrogates, white space, what is no UTF-8."""
    head, tail = b' \t{ "a" :\t1e-7,"b":"\\ud800","c":1.0E+2 ,\r\n "\xff\xfe":"\xc3(\xed\xa0\x80",', b' ,"z":-0.0}  \n'
    line = head + b'"total_cost_usd" : \n 1.25' + tail
    assert without(line, SPENT) == head + b'"total_cost_usd" : \n 1.0' + tail


def test_up_to_what_is_no_json() -> None:
    """What stands before an error is put right, what stands behind it is not understood."""
    assert (
        less('{"duration_api_ms":71,"a":?,"total_cost_usd":1.0}') == '{"duration_api_ms":1,"a":?,"total_cost_usd":1.0}'
    )
    assert less('{"duration_api_ms":71;"total_cost_usd":1.0}') == '{"duration_api_ms":1;"total_cost_usd":1.0}'
    assert less('{"duration_api_ms":71') == '{"duration_api_ms":1'


def test_what_was_not_used_changes_nothing() -> None:
    """Where nothing was used before, the result stays to the byte."""
    line = b'{"total_cost_usd":1e-7,"duration_api_ms":3,"modelUsage":{"m":{"costUSD":1e-7,"inputTokens":2}}}'
    assert without(line, NOTHING_BEFORE) == line


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)
OTHER_NAMES = st.text().filter(lambda name: name not in {"total_cost_usd", "duration_api_ms", "modelUsage"})
COSTS = st.integers(0, 10**12).map(lambda nanos: nanos / 10**9)


@settings(derandomize=True, database=None, deadline=None)
@given(st.dictionaries(OTHER_NAMES, JSON_VALUES), COSTS, st.sampled_from([None, 1]), st.booleans())
def test_every_other_byte_stays(others: dict[str, Any], cost: float, indent: int | None, is_ascii: bool) -> None:
    """Whatever else a result has, and however it is written, only the cost is another."""
    total = cost + SPENT.cost_usd
    document = json.dumps({**others, "total_cost_usd": "HERE", **others}, indent=indent, ensure_ascii=is_ascii)
    before, _, after = document.rpartition('"HERE"')
    line = f"{before}{total!r}{after}".encode(errors="surrogatepass")
    changed = without(line, SPENT)
    assert changed.startswith(before.encode(errors="surrogatepass"))
    assert changed.endswith(after.encode(errors="surrogatepass"))
    assert json.loads(changed.decode(errors="surrogatepass"))["total_cost_usd"] == pytest.approx(cost, abs=1e-9)


USES = st.lists(st.tuples(COSTS, st.integers(0, 10**6), st.sampled_from(["m", "n"]), st.integers(0, 10**6)), max_size=8)


@settings(derandomize=True, database=None, deadline=None)
@given(USES)
def test_the_sum_is_the_total(uses: list[tuple[float, int, str, int]]) -> None:
    """What each of several requests has used adds up to what the CLI has used in all."""
    cost, api_ms, tokens = 0.0, 0, {"m": 0, "n": 0}
    spent, told = Spent("s", 0.0, 0, {}), []
    for used, took_ms, model, count in uses:
        cost, api_ms = cost + used, api_ms + took_ms
        tokens[model] += count
        usage = {name: {"inputTokens": number} for name, number in tokens.items() if number}
        totals = {"total_cost_usd": cost, "duration_api_ms": api_ms, "modelUsage": usage}
        told.append(json.loads(without(json.dumps(totals).encode(), spent)))
        spent = Spent("s", cost, api_ms, usage)
        assert set(told[-1]["modelUsage"]) == ({model} if count else set())
    assert sum(document["total_cost_usd"] for document in told) == pytest.approx(cost, abs=1e-8)
    assert sum(document["duration_api_ms"] for document in told) == api_ms
    for name, number in tokens.items():
        assert sum(document["modelUsage"].get(name, {}).get("inputTokens", 0) for document in told) == number
