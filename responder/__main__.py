"""Entry point of `claude-responder` and `python -m responder`."""

import contextlib
import sys
from collections.abc import Iterator

_UNUSED = "aiohttp"


def main() -> None:
    """Run the command."""
    with _without_websockets():
        from responder.command import main as run  # noqa: PLC0415 # what it imports is what this is about
    run()


@contextlib.contextmanager
def _without_websockets() -> Iterator[None]:
    """Keep nats-py from loading aiohttp, which it needs for addresses that the settings refuse (`ws://`) alone.

    Measured: 10 of 55 MiB of a responder's memory, and a fifth of its start. The stub API loads it later.
    """
    if _UNUSED in sys.modules:
        yield
        return
    # Source: docs.python.org/3/reference/import.html, the module cache: None makes an import fail.
    sys.modules[_UNUSED] = None  # type: ignore[assignment] # the types know no such entry
    try:
        yield
    finally:
        del sys.modules[_UNUSED]


if __name__ == "__main__":
    main()
