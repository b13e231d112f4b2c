"""The plot is a well-formed picture of the curves."""

from xml.etree import ElementTree as ET

from bench.routing.plot import PERCENTS, Panel, sojourn_plot
from bench.routing.sojourns import Sojourns

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {
    "ideal": Sojourns(number / 100 for number in range(1, 501)),
    "<random> & slow": Sojourns(number / 20 for number in range(1, 501)),
}


def drawn() -> ET.Element:
    panels = [Panel("load 0.5", CURVES), Panel("load 0.95", CURVES)]
    return ET.fromstring(sojourn_plot("Sojourn times", panels))  # noqa: S314 - written by ourselves


def test_it_is_well_formed() -> None:
    """Names are escaped, and each stands in the legend."""
    texts = {text.text for text in drawn().iter(f"{SVG}text")}
    assert {"Sojourn times", "load 0.5", "load 0.95", "ideal", "<random> & slow"} <= texts


def test_each_curve_is_inside_and_rises() -> None:
    """Every panel has a line for each way, inside its frame, that never goes down (y grows downwards)."""
    lines = list(drawn().iter(f"{SVG}polyline"))
    assert len(lines) == 4
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert len(points) == len(PERCENTS)
        assert all(56 <= x <= 386 and 34 <= y <= 294 for x, y in points)
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))


def test_the_slower_way_lies_above() -> None:
    """On one scale, what takes five times as long is drawn higher at every percentile."""
    fast, slow, *_ = (
        [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        for line in drawn().iter(f"{SVG}polyline")
    )
    assert all(high <= low for high, low in zip(slow, fast, strict=True))
    assert slow[30] < fast[30]


def test_one_time_for_all_is_a_line_too() -> None:
    """A curve without any spread has a scale of its own."""
    text = sojourn_plot("one", [Panel("p", {"ideal": Sojourns([1.0])})])
    assert "<polyline" in text
    assert "nan" not in text
