"""A plot of sojourn times by percentile. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import plot
from bench.routing.sojourns import Sojourns

# Evenly spread over the stretched axis, on which 90, 99 and 99.9 percent are as far from one another.
PERCENTS = tuple(100 * (1 - 10 ** (-step / 20)) for step in range(61))
_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9)
# The ideal and the random group are drawn as what the others are compared with.
_DASHES = ("6 4", "2 4", "")


@dataclass(frozen=True)
class Panel:
    """One of the plots that stand side by side.

    Attributes:
        title: What stands above it.
        curves: The times of each way; the same ways in every panel.
    """

    title: str
    curves: Mapping[str, Sojourns]


def sojourn_plot(title: str, panels: Sequence[Panel]) -> str:
    """Draw the sojourn times of each way by percentile, one panel beside the other, with the same logarithmic scale.

    Args:
        title: What is shown.
        panels: At least one.
    """
    times = [curve.percentile(percent) for panel in panels for curve in panel.curves.values() for percent in PERCENTS]
    # What is shorter than the shortest hundredth is left to the frame.
    low, high = plot.nice(sorted(times)[len(times) // 20], up=False), plot.nice(max(times), up=True)
    percents = plot.Axis("percent of requests answered within", {each: f"{each:g}" for each in _TICKS}, _stretched)
    drawn = plot.Plot(title, percents, plot.logarithmic("", low, high, "s"), _DASHES)
    return drawn.draw([plot.Panel(panel.title, _points(panel)) for panel in panels])


def _points(panel: Panel) -> dict[str, plot.Points]:
    return {
        name: [(percent, curve.percentile(percent)) for percent in PERCENTS] for name, curve in panel.curves.items()
    }


def _stretched(percent: float) -> float:
    return -math.log10(max(1e-3, 1 - percent / 100)) / 3
