"""Whether many requests leave something behind: how growth is told from noise, and a short run."""

import io
import os

import pytest
from rich.console import Console

from bench import soak
from bench.footprint import Footprint, Growth, Sample


def sample(requests: int, memory_bytes: int, descriptors: int, seconds: float = 0.0) -> Sample:
    held = Footprint(memory_bytes, descriptors, threads=2, descendants=1)
    return Sample(requests, seconds, held, held)


def printed(samples: list[Sample]) -> list[list[str]]:
    """Give the table's rows."""
    console = Console(width=160, file=io.StringIO())
    console.print(soak.table(samples, "a title"))
    assert isinstance(console.file, io.StringIO)
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines()]


def test_a_process_as_it_is() -> None:
    """Its memory is that of a Python process, its descriptors and threads are there, and one more is one more."""
    before = Footprint.of(os.getpid())
    extra = os.open("/dev/null", os.O_RDONLY)
    try:
        now = Footprint.of(os.getpid())
    finally:
        os.close(extra)
    assert now.memory_bytes > 10_000_000
    assert now.descriptors == before.descriptors + 1
    assert now.threads >= 1


def test_growth_is_a_slope() -> None:
    """What rises by 3 in each 100 requests rises by 30 in 1,000, whatever it began with."""
    growth = Growth.along([(each * 100, 50 + 3 * each) for each in range(10)])
    assert growth is not None
    assert growth.per_1000 == pytest.approx(30)
    assert growth.error == pytest.approx(0)
    assert Growth.along([(0, 1), (100, 2)]) is None


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([5.0] * 20, "steady"),
        ([5.0, 9.0] * 10, "steady"),
        ([5.0 + each for each in range(20)], "grows"),
        ([5.0 + each + 3 * (each % 2) for each in range(20)], "grows"),
        ([25.0 - each for each in range(20)], "steady"),
    ],
    ids=["level", "up and down", "up", "up in jumps", "down"],
)
def test_what_goes_up_and_down_does_not_grow(values: list[float], verdict: str) -> None:
    """Only what rises by more than its own noise grows."""
    growth = Growth.along(list(enumerate(values)))
    assert growth is not None
    assert growth.verdict(0.2) == verdict


def test_the_first_requests_do_not_count() -> None:
    """What is loaded at first is no growth; what comes with each hundred is."""
    mib = 1024 * 1024
    early = [sample(requests, requests * mib, 10) for requests in range(0, 500, 100)]
    late = [sample(requests, 500 * mib, requests // 100) for requests in range(500, 3000, 100)]
    *_, first, minute, verdict = [row for row in printed([*early, *late]) if row]
    assert first[:3] == ["from 500 on", "+0.000 ± 0.000", "+10.000 ± 0.000"]
    assert minute[1] == "-"
    assert verdict == ["verdict", "steady", "grows", "steady", "steady", "steady", "grows"]


def test_what_is_remembered_for_a_minute_is_no_growth() -> None:
    """The verdict is on what comes after the first minute, where there is enough of that."""
    mib = 1024 * 1024
    samples = [sample(each * 100, min(each, 60) * mib, 10, seconds=each) for each in range(100)]
    *_, first, minute, verdict = [row for row in printed(samples) if row]
    assert first[1].startswith("+")
    assert minute[1] == "+0.000 ± 0.000"
    assert verdict[1] == "steady"


async def test_a_short_run() -> None:
    """With a command that does nothing it comes to samples of both sides, a tenth of the requests apart."""
    samples = await soak.run(30, 2, is_noop=True)
    assert [each.requests for each in samples] == list(range(0, 31, 3))
    assert all(each.responder.memory_bytes and each.requester.memory_bytes for each in samples)
    assert all(each.responder.descendants >= 1 for each in samples)  # its watchdog
    assert samples[0].seconds < samples[-1].seconds
