"""A command that reads its prompt and prints a result document: what stands in for the CLI when the hop is measured."""

from pathlib import Path

DOCUMENT = '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"s","num_turns":1}'


def write_noop(folder: Path) -> Path:
    """Write the command and give its path."""
    path = folder / "claude"
    # Whoever writes to a pipe that nobody reads may fail, so the prompt is read; `read` is the shell's own and fails at
    # the end of a prompt without a last newline.
    path.write_text(f"#!/bin/sh\nread -r prompt\necho '{DOCUMENT}'\n")
    path.chmod(0o755)
    return path
