"""Panels of lines over two axes, side by side, as SVG. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]
_COLOURS = ("#111111", "#e07a00", "#7a7a7a", "#c2185b", "#0b6bcb", "#2e7d32", "#8d6e63", "#7b1fa2", "#00838f")
_HEIGHT = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 34, 46
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 20
_SMALLEST = 1e-3


@dataclass(frozen=True)
class Axis:
    """One of the two.

    Attributes:
        title: What stands along it; nothing where the ticks say it.
        ticks: What stands at which value.
        share: Where a value lies, from 0 at one end to 1 at the other.
    """

    title: str
    ticks: Mapping[float, str]
    share: Callable[[float], float]


@dataclass(frozen=True)
class Panel:
    """One of the plots that stand side by side.

    Attributes:
        title: What stands above it.
        curves: The points of each line, by name.
    """

    title: str
    curves: Mapping[str, Points]


@dataclass(frozen=True)
class Plot:
    """Panels with the same axes.

    Attributes:
        title: What is shown.
        x: To the right.
        y: Upwards.
        dashes: Of the lines, in the order of their names; the last is for all further ones.
        width: Of one panel, in pixels.
        has_dots: Whether each point has a dot.
        legend_width: From one name in the legend to the next, in pixels.
    """

    title: str
    x: Axis
    y: Axis
    dashes: Sequence[str] = ("",)
    width: int = 400
    has_dots: bool = False
    legend_width: int = 240

    def draw(self, panels: Sequence[Panel]) -> str:
        """Give the picture of at least one panel."""
        names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
        width = max(self.width * len(panels), 800)
        height = _HEIGHT + 30 + _LEGEND_ROW * math.ceil(len(names) / _LEGEND_COLUMNS)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
            "<style>text { font-size: 12px }</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(self.title)}</text>',
        ]
        for number, panel in enumerate(panels):
            lines += [f'<g transform="translate({number * self.width} 16)">', *self._panel(panel, names), "</g>"]
        for number, name in enumerate(names):
            row, column = divmod(number, _LEGEND_COLUMNS)
            x, y = _LEFT + column * self.legend_width, _HEIGHT + 30 + row * _LEGEND_ROW
            lines.append(f'<path d="M{x} {y}h28" {self._stroke(number)}/>')
            lines.append(f'<text x="{x + 34}" y="{y + 4}">{escape(name)}</text>')
        return "\n".join([*lines, "</svg>", ""])

    def _panel(self, panel: Panel, names: Sequence[str]) -> Iterator[str]:
        bottom, right = _HEIGHT - _BOTTOM, self.width - _RIGHT
        middle = (_LEFT + right) / 2
        yield f'<text x="{middle}" y="{_TOP - 8}" text-anchor="middle">{escape(panel.title)}</text>'
        for value, label in self.x.ticks.items():
            x = self._x(value)
            yield f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#dddddd"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
        for value, label in self.y.ticks.items():
            y = self._y(value)
            yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        yield f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">{escape(self.x.title)}</text>'
        for name, curve in panel.curves.items():
            number = names.index(name)
            places = [(f"{self._x(x):.1f}", f"{self._y(y):.1f}") for x, y in curve]
            points = " ".join(",".join(place) for place in places)
            yield f'<polyline points="{points}" {self._stroke(number)}/>'
            if self.has_dots:
                yield from (f'<circle cx="{x}" cy="{y}" r="2.5" fill="{_colour(number)}"/>' for x, y in places)

    def _x(self, value: float) -> float:
        return _LEFT + self.x.share(value) * (self.width - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - self.y.share(value) * (_HEIGHT - _TOP - _BOTTOM)

    def _stroke(self, number: int) -> str:
        dash = self.dashes[min(number, len(self.dashes) - 1)]
        pattern = f' stroke-dasharray="{dash}"' if dash else ""
        return f'fill="none" stroke-width="2" stroke="{_colour(number)}"{pattern}'


def logarithmic(title: str, low: float, high: float, unit: str) -> Axis:
    """Give a logarithmic axis with ticks at 1, 2, 5, 10 …; what is lower than its low end lies there.

    Args:
        title: What stands along it.
        low: Its low end, above 0.
        high: Its high end.
        unit: Stands behind each number.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    ticks = {step: f"{step:g} {unit}" for step in steps if low * 0.999 <= step <= high * 1.001}
    return Axis(title, ticks, lambda value: math.log10(max(value, low) / low) / math.log10(high / low))


def nice(value: float, *, up: bool) -> float:
    """Give the next of 1, 2, 5, 10 …, or the one before; nothing is smaller than 0.001."""
    power = 10.0 ** math.floor(math.log10(max(value, _SMALLEST)))
    steps = [factor * power for factor in (1, 2, 5, 10)]
    if up:
        return next(step for step in steps if step > value)
    return max(step for step in steps if step <= max(value, _SMALLEST) * 1.001)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
