"""The tree of a trace, drawn from given spans."""

import io
from typing import Any

import pytest
from rich.console import Console

from examples.demo.span import Span
from examples.demo.trace_tree import Bar, trace_tree, tree_rows

SECOND_NS = 1_000_000_000


def span(span_id: str, parent_id: str | None, start: float, end: float, **more: Any) -> Span:
    fields = {"name": span_id, "service": "program", "attributes": {}} | more
    return Span(
        trace_id="1" * 32,
        span_id=span_id,
        parent_id=parent_id,
        kind="internal",
        start_ns=int(start * SECOND_NS),
        end_ns=int(end * SECOND_NS),
        **fields,
    )


def drawn(*spans: Span, width: int = 80, colour: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    with console.capture() as capture:
        console.print(trace_tree(spans))
    return capture.get().splitlines()


def test_order_and_guides() -> None:
    """A parent comes before its children, siblings in the order of their start, whatever order they arrived in."""
    spans = [
        span("second", "root", 2, 3),
        span("leaf", "first", 1, 2),
        span("first", "root", 1, 2),
        span("root", None, 0, 4),
    ]
    assert [row.guides + row.span.name for row in tree_rows(spans)] == ["root", "├ first", "│ └ leaf", "└ second"]


def test_several_traces() -> None:
    """Spans of several traces are several trees on one time axis."""
    lines = drawn(span("one", None, 0, 1), span("two", None, 1, 2))
    first, second = (line[line.index("1.00 s") + 7 :].rstrip() for line in lines)
    assert first.startswith("█")
    assert second.startswith(" ")
    assert len(second) > len(first)


def test_orphan() -> None:
    """A span whose parent was not seen is a root with a mark, and the mark is explained once."""
    lines = drawn(span("lost", "nowhere", 0, 1), span("child", "lost", 0, 1), span("root", None, 0, 1))
    assert [line.split("  ")[0] for line in lines] == ["⋯ lost", "└ child", "root", "⋯ its parent was not seen"]


def test_no_note_without_orphans() -> None:
    """Where every parent was seen nothing is explained."""
    assert len(drawn(span("root", None, 0, 1))) == 1


def test_exported_twice() -> None:
    """A span that an exporter sent twice is shown once."""
    assert len(tree_rows([span("root", None, 0, 1), span("root", None, 0, 1)])) == 1


def test_error_is_marked_and_red() -> None:
    """A failed span is red with its kind of error; on a pipe the mark and the word remain."""
    failed = span("step", None, 0, 1, status="error", attributes={"error.type": "timeout"})
    assert drawn(failed)[0].startswith("✗ step: timeout")
    assert "\x1b[31m✗ step: timeout" in drawn(failed, colour=True)[0]


def test_error_without_a_type() -> None:
    """A failed span that does not say why is marked all the same."""
    assert drawn(span("step", None, 0, 1, status="error"))[0].startswith("✗ step: error")


def test_no_colour_on_a_pipe() -> None:
    """What is printed into a file has no escape sequences."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(trace_tree([span("root", None, 0, 1)]))
    assert "\x1b" not in capture.get()


def test_markup_in_a_name_is_text() -> None:
    """A span's name comes from another program: what looks like rich's markup in it stays as it is."""
    assert drawn(span("a [red]name[/]", None, 0, 1))[0].startswith("a [red]name[/]")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_width(width: int) -> None:
    """The tree of a whole request fills the terminal, is never wider, and leaves room for its bars."""
    names = ["worker", "request claude.cli.execute", "send claude.cli.execute", "process claude.cli.execute"]
    names += ["invoke_agent claude-code", "claude", "claude_code.interaction", "claude_code.llm_request"]
    spans = [
        span(str(depth), str(depth - 1) if depth else None, 0, 2, name=name, service="claude-responder")
        for depth, name in enumerate(names)
    ]
    lines = drawn(*spans, width=width)
    assert {len(line) for line in lines} == {width}
    assert all(line.count("█") >= 12 for line in lines)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0.0, 1.0, "██████████"),
        (0.24, 0.56, "  ████"),
        (0.0, 0.0, "▏"),
        (1.0, 1.0, "         ▏"),
        (0.95, 1.0, "         ▏"),
    ],
)
def test_bar(begin: float, end: float, expected: str) -> None:
    """A bar lies where its time lies; what is too short for a character is a stroke, never nothing."""
    assert Bar(begin, end, "red").text(10) == expected


def test_no_spans() -> None:
    """A trace without spans is drawn as nothing."""
    assert "".join(drawn()).strip() == ""


@pytest.mark.parametrize(("seconds", "text"), [(1.234, "1.23 s"), (0.0, "0 ms"), (0.0456, "46 ms")])
def test_duration(seconds: float, text: str) -> None:
    """Durations are seconds from one second on, milliseconds below."""
    assert f" {text} " in drawn(span("root", None, 0, seconds))[0]
