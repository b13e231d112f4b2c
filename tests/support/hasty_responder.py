"""`claude-responder serve` with short pauses while it is not fit for work, and a short forced stop."""

import asyncio
import logging
import sys

from responder.fitness import Pace
from responder.serve import Stop, serve
from responder.settings import host_environment, load_settings

PACE = Pace(look_every_s=0.2, away_min_s=0.3, refused_first_s=0.5, limited_first_s=1.0)
FORCED_STOP_MAX_S = 1.0


def main(arguments: list[str]) -> int:
    """Serve until a signal; the arguments are those of `serve`, each option with its value."""
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    _, *options = arguments
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    settings = load_settings(dict(zip(names, options[1::2], strict=True)))
    stop = Stop(settings.drain_grace_s, FORCED_STOP_MAX_S)
    return asyncio.run(serve(settings, host_environment(), tracing=False, pace=PACE, stop=stop))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
