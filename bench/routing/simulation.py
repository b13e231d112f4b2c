"""What a trace would take without processes and messages: one queue for all slots, and a random queue group. Pure."""

import heapq
import random
from collections.abc import Sequence

from bench.routing.trace import Trace


def central_queue(trace: Trace, slots: int) -> list[float]:
    """Give the sojourn time of each request where all slots serve one first-in-first-out queue, in seconds.

    Args:
        trace: What comes.
        slots: How many there are.
    """
    return _serve(trace.arrivals, trace.services, slots)


def random_group(trace: Trace, *, members: int, slots: int, seed: int) -> list[float]:
    """Give the sojourn times where each request goes to a random member and waits there, whatever the others do.

    Args:
        trace: What comes.
        members: How many there are.
        slots: How many each of them has.
        seed: Of the choice.
    """
    source = random.Random(seed)
    chosen: list[list[int]] = [[] for _ in range(members)]
    for index in range(len(trace.arrivals)):
        chosen[source.randrange(members)].append(index)
    sojourns = [0.0] * len(trace.arrivals)
    for indices in chosen:
        arrivals = [trace.arrivals[index] for index in indices]
        served = _serve(arrivals, [trace.services[index] for index in indices], slots)
        for index, sojourn in zip(indices, served, strict=True):
            sojourns[index] = sojourn
    return sojourns


def _serve(arrivals: Sequence[float], services: Sequence[float], slots: int) -> list[float]:
    free_at = [0.0] * slots
    sojourns = []
    for arrival, service in zip(arrivals, services, strict=True):
        ended = max(arrival, free_at[0]) + service
        heapq.heapreplace(free_at, ended)
        sojourns.append(ended - arrival)
    return sojourns
