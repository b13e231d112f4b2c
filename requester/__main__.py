"""The entry point of the command `claude-requester`, also as `python -m requester`."""

import logging
import sys

from requester import exit_codes
from requester.command import NAME, app

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the command; one line on stderr tells of a defect of ours, its traceback is logged at debug."""
    try:
        app(prog_name=NAME)
    except Exception as error:  # noqa: BLE001 # the outermost boundary
        _log.debug("defect", exc_info=True)
        sys.stderr.write(f"{NAME}: a defect of the requester: {type(error).__name__}\n")
        sys.exit(exit_codes.OTHER)


if __name__ == "__main__":
    main()
