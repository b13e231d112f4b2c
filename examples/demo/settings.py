"""What the operator's environment says, and the environment that responders get. The one place that reads it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.error import DemoError

# How a CLI finds its account. Passed on only with LIVE=1, and never printed.
_ACCOUNT = ("ANTHROPIC_", "CLAUDE_CODE_OAUTH_TOKEN")


@dataclass(frozen=True)
class DemoSettings:
    """What the demo is started with.

    Attributes:
        cli: The CLI that the responders run.
        is_live: Whether the real Messages API is asked, with the operator's account.
        path: PATH for the responders and their CLIs.
        account: The operator's variables that a real run needs; empty unless it is one.
    """

    cli: Path
    is_live: bool
    path: str
    account: Mapping[str, str] = field(repr=False)


def read_settings(environ: Mapping[str, str]) -> DemoSettings:
    """Read LIVE, CLAUDE_CLI and PATH, and with LIVE=1 the variables of the operator's account.

    Raises:
        DemoError: There is no CLI.
    """
    is_live = environ.get("LIVE", "") not in {"", "0"}
    account = {name: value for name, value in environ.items() if name.startswith(_ACCOUNT) or name == "HOME"}
    return DemoSettings(
        cli=_find_cli(environ),
        is_live=is_live,
        path=environ.get("PATH", os.defpath),
        account=account if is_live else {},
    )


def responder_environment(settings: DemoSettings, name: str, home: Path) -> dict[str, str]:
    """Build from nothing what a responder needs, the addresses of the others apart.

    Args:
        settings: The demo's.
        name: The responder's id.
        home: An empty directory: HOME, unless the operator's own is used, and the place for working directories.
    """
    return {
        "PATH": settings.path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "CLAUDE_RESPONDER_NAME": name,
        "CLAUDE_RESPONDER_CLI": str(settings.cli),
        # One slot each, so that one of three requests has to wait: the trace shows it.
        "CLAUDE_RESPONDER_SLOTS": "1",
        **settings.account,
    }


def _find_cli(environ: Mapping[str, str]) -> Path:
    named = environ.get("CLAUDE_CLI")
    found = shutil.which(named or "claude", path=environ.get("PATH", os.defpath))
    if found:
        return Path(found).absolute()
    if named:
        raise DemoError(f"CLAUDE_CLI names no executable: {named}")
    raise DemoError("no claude on PATH: npm install @anthropic-ai/claude-code, or set CLAUDE_CLI to its path")
