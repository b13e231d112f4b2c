"""A command that does nothing but print a result document: what stands in for the CLI when the hop is measured."""

from pathlib import Path

DOCUMENT = '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"s","num_turns":1}'


def write_noop(folder: Path) -> Path:
    """Write the command and give its path."""
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\necho '{DOCUMENT}'\n")
    path.chmod(0o755)
    return path
