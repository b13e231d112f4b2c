"""The plot of the hop: a line for each way, over the numbers of requests in flight."""

from xml.etree import ElementTree as ET

import pytest

from bench.hop_plot import median_plot
from bench.load import Latencies

SVG = "{http://www.w3.org/2000/svg}"
OURS, EXEC, ECHO = "requester → responder", "request → nats-py and asyncio exec", "echo: requester → responder"


def latencies(p50_ms: float) -> Latencies:
    return Latencies((p50_ms / 1000,), 1.0, 1.0)


def drawn(*numbers: int) -> ET.Element:
    """Draw three ways, each taking so many milliseconds for each request in flight."""
    taken = {
        number: {OURS: latencies(2.0 * number), EXEC: latencies(1.0 * number), ECHO: latencies(0.5 * number)}
        for number in numbers
    }
    return ET.fromstring(median_plot(taken))  # noqa: S314 - written by ourselves


def places(line: ET.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]


def test_axes_and_legend_are_told() -> None:
    """Each way stands in the legend, each number of requests below the axis, the medians' scale beside it."""
    texts = {text.text for text in drawn(1, 5, 50, 500).iter(f"{SVG}text")}
    assert {OURS, EXEC, ECHO, "1", "5", "50", "500", "requests in flight", "1 ms", "1000 ms"} <= texts


def test_what_takes_twice_as_long_is_as_much_higher_everywhere() -> None:
    """Both axes are logarithmic: in proportion is a straight line, and a ratio one distance."""
    ours, plain, _ = map(places, drawn(1, 10, 100).iter(f"{SVG}polyline"))
    assert [x for x, _ in ours] == [x for x, _ in plain]
    gaps = [low - high for (_, high), (_, low) in zip(ours, plain, strict=True)]
    assert gaps[0] > 5
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.2)
    (x0, y0), (x1, y1), (x2, y2) = ours
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_what_is_compared_with_is_broken() -> None:
    """Ways that run no command are dotted, those without our hop dashed; each point has its dot."""
    picture = drawn(1, 5)
    dashes = [line.attrib.get("stroke-dasharray") for line in picture.iter(f"{SVG}polyline")]
    assert dashes == [None, "6 4", "2 4"]
    assert len(list(picture.iter(f"{SVG}circle"))) == 6


def test_one_number_is_a_plot_too() -> None:
    """With one number of requests in flight there are points, inside the frame."""
    (ours, *_) = map(places, drawn(5).iter(f"{SVG}polyline"))
    assert 56 < ours[0][0] < 886
    assert 34 < ours[0][1] < 294
