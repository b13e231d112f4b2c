"""What a part has found: rows of numbers, as a table for people and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]
_LARGE = 100


@dataclass(frozen=True)
class Sheet:
    """Rows with the same columns.

    Attributes:
        title: What they say.
        rows: By column; what is text stands on the left.
        trials: The numbers behind the rows, for the JSON alone.
    """

    title: str
    rows: Sequence[Row]
    trials: Sequence[Row] = field(default=())

    def table(self) -> Table:
        """Give it for the terminal."""
        table = Table(title=self.title, title_justify="left")
        for column, value in self.rows[0].items():
            table.add_column(column, justify="left" if isinstance(value, str) else "right")
        for row in self.rows:
            table.add_row(*map(_shown, row.values()))
        return table

    def document(self) -> dict[str, Any]:
        """Give it for a file."""
        return {"title": self.title, "rows": list(self.rows), "trials": list(self.trials)}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.2f}"
    return str(value)
