"""Hosts that have run out of something, or have it not."""

import contextlib
import os
import resource
import tempfile
from collections.abc import Iterator

import pytest


def _has_attributes() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.setxattr(folder, "user.word", b"x")
        except OSError:
            return False
    return True


needs_attributes = pytest.mark.skipif(
    not _has_attributes(), reason="needs user attributes in /tmp: every disk has them, as CI's; tmpfs since Linux 6.6"
)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make what is another user's; CI runs as root")


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
