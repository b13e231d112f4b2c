"""A plot of sojourn times by percentile, as SVG. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.routing.sojourns import Sojourns

# Evenly spread over the stretched axis, on which 90, 99 and 99.9 percent are as far from one another.
PERCENTS = tuple(100 * (1 - 10 ** (-step / 20)) for step in range(61))
_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9)
_COLOURS = ("#111111", "#e07a00", "#7a7a7a", "#c2185b", "#0b6bcb", "#2e7d32")
_DASHES = ("6 4", "2 4", "")
_WIDTH, _HEIGHT = 400, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 34, 46
_LEGEND_ROW = 20


@dataclass(frozen=True)
class Panel:
    """One of the plots that stand side by side.

    Attributes:
        title: What stands above it.
        curves: The times of each way; the same ways in every panel.
    """

    title: str
    curves: Mapping[str, Sojourns]


@dataclass(frozen=True)
class _Axes:
    low: float
    high: float

    def x(self, percent: float) -> float:
        share = -math.log10(max(1e-3, 1 - percent / 100)) / 3
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, seconds: float) -> float:
        share = math.log10(max(seconds, self.low) / self.low) / math.log10(self.high / self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def sojourn_plot(title: str, panels: Sequence[Panel]) -> str:
    """Draw the sojourn times of each way by percentile, one panel beside the other, with the same logarithmic scale.

    Args:
        title: What is shown.
        panels: At least one.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    times = [curve.percentile(percent) for panel in panels for curve in panel.curves.values() for percent in PERCENTS]
    # What is shorter than the shortest hundredth is left to the frame.
    axes = _Axes(_nice(sorted(times)[len(times) // 20], up=False), _nice(max(times), up=True))
    height = _HEIGHT + 30 + _LEGEND_ROW * math.ceil(len(names) / 3)
    width = max(_WIDTH * len(panels), 2 * _WIDTH)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        "<style>text { font-size: 12px }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        lines += [f'<g transform="translate({number * _WIDTH} 16)">', *_panel(panel, axes, names), "</g>"]
    lines += _legend(names)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, axes: _Axes, names: Sequence[str]) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle}" y="{_TOP - 8}" text-anchor="middle">{escape(panel.title)}</text>'
    for percent in _TICKS:
        x = axes.x(percent)
        yield f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#dddddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{percent:g}</text>'
    for seconds in _decades(axes):
        y = axes.y(seconds)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{seconds:g} s</text>'
    yield f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">percent of requests answered within</text>'
    for name, curve in panel.curves.items():
        points = " ".join(f"{axes.x(percent):.1f},{axes.y(curve.percentile(percent)):.1f}" for percent in PERCENTS)
        yield f'<polyline points="{points}" {_stroke(names.index(name))}/>'


def _legend(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        x, y = _LEFT + number % 3 * 240, _HEIGHT + 30 + number // 3 * _LEGEND_ROW
        yield f'<path d="M{x} {y}h28" {_stroke(number)}/>'
        yield f'<text x="{x + 34}" y="{y + 4}">{escape(name)}</text>'


def _stroke(number: int) -> str:
    dash = _DASHES[min(number, len(_DASHES) - 1)]
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none" stroke-width="2" stroke="{_COLOURS[number % len(_COLOURS)]}"{pattern}'


def _decades(axes: _Axes) -> list[float]:
    first, last = math.floor(math.log10(axes.low)), math.ceil(math.log10(axes.high))
    steps = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [step for step in steps if axes.low * 0.999 <= step <= axes.high * 1.001]


def _nice(seconds: float, *, up: bool) -> float:
    """Give the next of 1, 2, 5, 10 …, or the one before."""
    power = 10.0 ** math.floor(math.log10(max(seconds, 1e-3)))
    steps = [factor * power for factor in (1, 2, 5, 10)]
    if up:
        return next(step for step in steps if step > seconds)
    return max(step for step in steps if step <= max(seconds, 1e-3) * 1.001)
