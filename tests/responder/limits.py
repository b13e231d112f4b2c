"""Hosts that have run out of something."""

import contextlib
import os
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def no_more_descriptors(left: int) -> Iterator[None]:
    """Let so many more descriptors be opened, as long as the context lasts.

    Args:
        left: How many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest free numbers are taken first, so these are kept for the given number, and the limit is put above them.
    free = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(left)]
    limit = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for descriptor in (*free, limit):
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
