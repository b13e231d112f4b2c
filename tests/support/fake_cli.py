"""Executables that stand in for the CLI where its own behaviour is not the point."""

from pathlib import Path

RESULT = '{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"s","num_turns":1}'


def fake_cli(folder: Path, body: str) -> Path:
    """Write a shell script named `claude`; `answer TEXT` in it prints a result document.

    Args:
        folder: Where.
        body: Of the script.
    """
    path = folder / "claude"
    prelude = f"answer() {{ printf '{RESULT}\\n' \"$1\"; }}"
    path.write_text(f"#!/bin/sh\n{prelude}\n{body}\n")
    path.chmod(0o755)
    return path
