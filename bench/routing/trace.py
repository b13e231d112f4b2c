"""What is asked, and when: the same for the real fleet and for the simulated ones. Pure."""

import math
import random
from dataclasses import dataclass
from itertools import accumulate

MEAN_S = 0.5
SIGMA = 1.2


@dataclass(frozen=True)
class Trace:
    """Requests, in the order in which they are sent.

    Attributes:
        arrivals: When each is sent, in seconds from the beginning; ascending.
        services: How long each takes once it runs, in seconds.
    """

    arrivals: tuple[float, ...]
    services: tuple[float, ...]


def poisson_trace(*, seed: int, load: float, slots: int, duration_s: float) -> Trace:
    """Make a trace with exponential gaps and lognormal service times.

    Both are stretched so that the means of what was drawn are the ones asked for: with service times as uneven as
    these, the load of some thousand requests would otherwise be off by several hundredths.

    Args:
        seed: The same seed gives the same trace.
        load: The share of all slots that is busy on average.
        slots: How many there are.
        duration_s: When the last request is sent, in seconds.
    """
    source = random.Random(seed)
    count = max(1, round(load * slots * duration_s / MEAN_S))
    gaps = [source.expovariate(1.0) for _ in range(count)]
    services = [source.lognormvariate(0.0, SIGMA) for _ in range(count)]
    stretch = duration_s / math.fsum(gaps)
    scale = MEAN_S * count / math.fsum(services)
    return Trace(
        tuple(accumulate(gap * stretch for gap in gaps)),
        tuple(service * scale for service in services),
    )


def burst(*, seed: int, count: int, mean_s: float) -> Trace:
    """Make a trace of requests that all come at once, with service times between half the mean and one and a half.

    Args:
        seed: The same seed gives the same trace.
        count: How many.
        mean_s: Of their service times, in seconds.
    """
    source = random.Random(seed)
    return Trace((0.0,) * count, tuple(mean_s * source.uniform(0.5, 1.5) for _ in range(count)))
