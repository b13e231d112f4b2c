"""A plot of the hop's medians by requests in flight. Pure."""

from collections.abc import Mapping

from bench import plot
from bench.load import Latencies

_WIDTH, _LEGEND_WIDTH = 900, 280
# So far beyond the first and the last number of requests in flight.
_MARGIN = 1.2
# What runs no command is dotted; what is no hop of ours is dashed.
_DOTTED, _DASHED, _SOLID = "2 4", "6 4", ""


def median_plot(taken: Mapping[int, Mapping[str, Latencies]]) -> str:
    """Draw the median time of each way, both axes logarithmic.

    Args:
        taken: By requests in flight, at least one number; the same ways for each.
    """
    names = list(dict.fromkeys(name for ways in taken.values() for name in ways))
    medians = [latencies.p50_ms for ways in taken.values() for latencies in ways.values()]
    ends = plot.logarithmic("requests in flight", min(taken) / _MARGIN, max(taken) * _MARGIN, "")
    x = plot.Axis(ends.title, {number: str(number) for number in taken}, ends.share)
    y = plot.logarithmic("", plot.nice(min(medians), up=False), plot.nice(max(medians), up=True), "ms")
    curves = {
        name: [(number, ways[name].p50_ms) for number, ways in sorted(taken.items()) if name in ways] for name in names
    }
    drawn = plot.Plot(
        "Median time of a request",
        x,
        y,
        [_dash(name) for name in names],
        _WIDTH,
        has_dots=True,
        legend_width=_LEGEND_WIDTH,
    )
    return drawn.draw([plot.Panel("", curves)])


def _dash(name: str) -> str:
    if "echo" in name or "round trip" in name:
        return _DOTTED
    return _DASHED if "in the caller" in name or "nats-py" in name else _SOLID
