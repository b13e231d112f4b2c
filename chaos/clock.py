"""The clock of all processes of the harness: the one a shell script can read too."""

import time


def now() -> float:
    """Give the seconds since the machine's start, as the first number in /proc/uptime (there in hundredths).

    Source: proc_uptime(5); it is CLOCK_BOOTTIME.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_time(monotonic: float) -> float:
    """Give what this clock showed when `time.monotonic()` showed so much."""
    return monotonic + now() - time.monotonic()
