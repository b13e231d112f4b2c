"""What the CLI has kept of a directory is found where it keeps it; in doubt it has kept something."""

from pathlib import Path

import pytest

from responder.memory import cli_home, is_remembered


def place(home: Path, cwd: Path) -> Path:
    """Give where the CLI keeps what it knows of a directory."""
    return home / "projects" / str(cwd.resolve()).replace("/", "-").replace("_", "-").replace(".", "-")


@pytest.mark.parametrize(
    ("kept", "is_found"),
    [("", False), ("memory/", False), ("s.jsonl", False), ("memory/MEMORY.md", True), ("s/tool-results/a", True)],
)
def test_what_is_kept(tmp_path: Path, kept: str, is_found: bool) -> None:
    """Whatever it has kept is found, in either home; an empty memory is none, and transcripts are read on demand."""
    for env in ({"HOME": str(tmp_path)}, {"HOME": "/nowhere", "CLAUDE_CONFIG_DIR": str(tmp_path / "config")}):
        file = place(cli_home(env), tmp_path) / kept
        (file if kept.endswith("/") or not kept else file.parent).mkdir(parents=True, exist_ok=True)
        if file.suffix or file.name == "a":
            file.touch()
        assert is_remembered(str(tmp_path), env) is is_found


def test_what_cannot_be_known(tmp_path: Path) -> None:
    """Where the CLI's home or the name it gives a directory is not known, it may have kept anything."""
    env = {"HOME": str(tmp_path)}
    assert not is_remembered("/tmp/none", env)
    assert is_remembered("/tmp/none", {})
    assert is_remembered(f"/tmp/{'x' * 200}", env)
    assert is_remembered("/tmp/\u00e9", env)
    place(tmp_path / ".claude", tmp_path).parent.mkdir(parents=True)
    place(tmp_path / ".claude", tmp_path).write_text("")
    assert is_remembered(str(tmp_path), env)
