"""Draws spans as a tree with a bar for each on one common time axis. Pure: spans in, something rich can print out.

::

    worker                          demo-worker       2.00 s ████████████████
    └ request claude.cli.execute    demo-worker       2.00 s ████████████████
      └ send claude.cli.execute     demo-worker       2.00 s ████████████████
        └ process claude.cli.execute claude-responder  1.89 s ███████████████
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from examples.demo.span import Span

_BAR_MIN_CHARS = 12
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")
_ORPHAN_MARK = "⋯ "
_ORPHAN_NOTE = f"{_ORPHAN_MARK}its parent was not seen"


@dataclass(frozen=True)
class Row:
    """One line of the tree.

    Attributes:
        span: What it shows.
        guides: The lines that lead to its parent.
        is_orphan: Whether the span names a parent that is not among the spans.
    """

    span: Span
    guides: str
    is_orphan: bool


def tree_rows(spans: Iterable[Span]) -> list[Row]:
    """Put spans in the order of a tree: a parent before its children, siblings by their start.

    Args:
        spans: Of one trace or of several, in any order; a span that was exported twice is shown once.
    """
    unique = {span.span_id: span for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(unique.values(), key=lambda span: span.start_ns):
        children.setdefault(span.parent_id if span.parent_id in unique else None, []).append(span)

    def below(span: Span, guides: str) -> Iterator[Row]:
        siblings = children.get(span.span_id, [])
        for place, child in enumerate(siblings, start=1):
            is_last = place == len(siblings)
            yield Row(child, guides + ("└ " if is_last else "├ "), is_orphan=False)
            yield from below(child, guides + ("  " if is_last else "│ "))

    rows: list[Row] = []
    for root in children.get(None, []):
        rows += [Row(root, "", is_orphan=root.parent_id is not None), *below(root, "")]
    return rows


@dataclass(frozen=True)
class Bar:
    """A bar on an axis, as wide as the room it gets; what is shorter than one character is a thin stroke.

    Attributes:
        begin: Where it begins, as a part of the axis, 0 to 1.
        end: Where it ends, likewise.
        colour: A colour's name in rich.
    """

    begin: float
    end: float
    colour: str

    def text(self, width: int) -> str:
        """Give the bar's line of characters, without the blanks behind it."""
        first, last = round(self.begin * width), round(self.end * width)
        return " " * min(first, width - 1) + ("█" * (last - first) or "▏")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text(options.max_width), style=self.colour)


def trace_tree(spans: Iterable[Span]) -> Table:
    """Draw the tree as wide as the terminal; failed spans are red and marked, so that a pipe shows them too."""
    rows = tree_rows(spans)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column()
    table.add_column()
    table.add_column(no_wrap=True, justify="right")
    # Beside a ratio rich takes the width as the least one.
    table.add_column(ratio=1, width=_BAR_MIN_CHARS)
    colours = _colour_of_each_service(rows)
    start_ns = min((row.span.start_ns for row in rows), default=0)
    end_ns = max((row.span.end_ns for row in rows), default=0)
    axis_ns = max(end_ns - start_ns, 1)
    for row in rows:
        span = row.span
        colour = "red" if span.is_error else colours[span.service]
        bar = Bar((span.start_ns - start_ns) / axis_ns, (span.end_ns - start_ns) / axis_ns, colour)
        table.add_row(_name(row), _cell(span.service, colour), _duration(span.duration_s), bar)
    if any(row.is_orphan for row in rows):
        table.add_row(_cell(_ORPHAN_NOTE, "dim"))
    return table


def _colour_of_each_service(rows: list[Row]) -> dict[str, str]:
    services = dict.fromkeys(row.span.service for row in rows)
    return {service: _COLOURS[place % len(_COLOURS)] for place, service in enumerate(services)}


def _name(row: Row) -> Text:
    text = _cell(row.guides + (_ORPHAN_MARK if row.is_orphan else ""), "dim")
    if not row.span.is_error:
        return text.append(row.span.name, style="not dim")
    reason = row.span.attributes.get("error.type") or "error"
    return text.append(f"✗ {row.span.name}: {reason}", style="red not dim")


def _cell(text: str, style: str) -> Text:
    # The cell is cut, not wrapped; a column that says so itself would not give way to the bar in a narrow terminal.
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
