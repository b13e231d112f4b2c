"""How many CLIs may wait for requests, how long, and how large they may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReuseLimits:
    """For how long one may serve the same caller.

    Attributes:
        requests_max: How many of its requests; with one, or none, that is not done.
        age_max_s: How old it may be for another, in seconds.
        process_max_bytes: How much memory it may have.
        idle_max_s: How long it waits for another, in seconds: a caller that has not used it for so long has no need.
    """

    requests_max: int = 0
    age_max_s: float = 600.0
    process_max_bytes: int = 500 * 1024 * 1024
    idle_max_s: float = 60.0


@dataclass(frozen=True)
class StandbyLimits:
    """What may be kept.

    Attributes:
        count_max: How many processes.
        memory_max_bytes: How much memory they may have in all, by their resident sizes.
        process_max_bytes: How much one may have that waits for its first request.
        age_max_s: How long that may wait, in seconds.
        reuse: For how long one may serve the same caller.
    """

    count_max: int
    memory_max_bytes: int = 2 * 1024 * 1024 * 1024
    process_max_bytes: int = 500 * 1024 * 1024
    age_max_s: float = 600.0
    reuse: ReuseLimits = ReuseLimits()
