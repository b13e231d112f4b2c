"""What the CLI remembers of a directory from one session to the next.

Measured on CLI 2.1.197: its system prompt asks the model to write what is worth remembering with the Write tool into
`projects/DIRECTORY/memory` of its home, and each session in that directory is given it. A fresh directory has a name of
its own, so for a cold run there is never any; for the next request to the same CLI there would be. The results of tools
that are too large for the model are kept there too.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_MEMORY = "memory"
_TRANSCRIPT = ".jsonl"
_NOT_KEPT = re.compile(r"[^a-zA-Z0-9]")
# What is longer gets a digest in its place.
_NAME_MAX_CHARS = 200


def cli_home(env: Mapping[str, str]) -> Path:
    """Give where the CLI has its settings, its credentials and its memory.

    Args:
        env: Its environment.
    """
    return Path(env.get("CLAUDE_CONFIG_DIR") or Path(env.get("HOME") or "/", ".claude"))


def is_remembered(cwd: str, env: Mapping[str, str]) -> bool:
    """Say whether a CLI may have kept anything about a directory, beside transcripts, which it reads when asked to.

    Args:
        cwd: The directory.
        env: The environment of the CLI that works in it.
    """
    name = _NOT_KEPT.sub("-", os.path.realpath(cwd))
    if len(name) > _NAME_MAX_CHARS or not cwd.isascii() or not (env.get("CLAUDE_CONFIG_DIR") or env.get("HOME")):
        return True
    place = cli_home(env) / "projects" / name
    try:
        left = {entry for entry in os.listdir(place) if not entry.endswith(_TRANSCRIPT)}  # noqa: PTH208 # names
        return bool(left - {_MEMORY} or (_MEMORY in left and os.listdir(place / _MEMORY)))  # noqa: PTH208 # the same
    except FileNotFoundError:
        return False
    except OSError:
        return True
