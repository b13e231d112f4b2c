"""What a waiting CLI has read, and whether it still is so."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from responder.freshness import Freshness


@pytest.fixture
def freshness(tmp_path: Path) -> Freshness:
    """Give that of a CLI with a home that has settings."""
    cli = tmp_path / "claude"
    cli.write_text("one")
    home = tmp_path / "home" / ".claude"
    (home / "skills").mkdir(parents=True)
    (home / "settings.json").write_text("{}")
    return Freshness(cli, {"HOME": str(tmp_path / "home")})


def replace(path: Path, text: str) -> None:
    """Replace a file as installers and editors do."""
    new = path.with_name("new")
    new.write_text(text)
    new.rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the CLI, replaced by one of the same size": lambda folder: replace(folder / "claude", "two"),
    "the CLI, gone": lambda folder: (folder / "claude").unlink(),
    "the settings, written": lambda folder: (folder / "home/.claude/settings.json").write_text('{"a": 1}'),
    "the settings, of another time": lambda folder: os.utime(folder / "home/.claude/settings.json", ns=(1, 1)),
    "the settings, gone": lambda folder: (folder / "home/.claude/settings.json").unlink(),
    "a memory": lambda folder: (folder / "home/.claude/CLAUDE.md").touch(),
    "another login": lambda folder: (folder / "home/.claude/.credentials.json").touch(),
    "a skill": lambda folder: (folder / "home/.claude/skills/new").mkdir(),
    "agents": lambda folder: (folder / "home/.claude/agents").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_a_waiting_cli_stale(freshness: Freshness, tmp_path: Path, change: str) -> None:
    """Whatever the CLI reads when it starts makes another state when it changes."""
    before = freshness.state()
    CHANGES[change](tmp_path)
    assert freshness.state() != before


def test_what_does_not(freshness: Freshness, tmp_path: Path) -> None:
    """The state lasts as long as nothing happens, and while the CLI writes its own, as each run does."""
    before = freshness.state()
    (tmp_path / "home" / ".claude.json").touch()
    (tmp_path / "home" / ".claude" / "projects").mkdir()
    (tmp_path / "claude").read_text()
    assert freshness.state() == before


def test_a_link_to_another_version(freshness: Freshness, tmp_path: Path) -> None:
    """A link that leads to another version now is another CLI."""
    link = tmp_path / "link"
    link.symlink_to("claude")
    linked = Freshness(link, freshness.host)
    before = linked.state()
    assert before == freshness.state()
    (tmp_path / "other").write_text("one")
    link.unlink()
    link.symlink_to("other")
    assert linked.state() != before


@pytest.mark.parametrize("variable", ["CLAUDE_CONFIG_DIR", "HOME"])
def test_where_the_home_is(freshness: Freshness, tmp_path: Path, variable: str) -> None:
    """The home is where the CLI looks for it: where it is told to, else in the user's."""
    path = tmp_path / "home" / (".claude" if variable == "CLAUDE_CONFIG_DIR" else "")
    other = {"CLAUDE_CONFIG_DIR": {"HOME": "/nowhere"}, "HOME": {"CLAUDE_CONFIG_DIR": ""}}[variable]
    seen = Freshness(freshness.cli, {**other, variable: str(path)})
    assert seen.state() == freshness.state()
    (tmp_path / "home" / ".claude" / "CLAUDE.md").touch()
    assert seen.state() == freshness.state()


def test_without_a_home(tmp_path: Path) -> None:
    """A host that says nothing of a home has a state too."""
    freshness = Freshness(tmp_path / "claude", {})
    assert freshness.state() == freshness.state()


def test_the_date(freshness: Freshness) -> None:
    """What was started yesterday would tell the API that it still is yesterday."""
    assert dt.datetime.now().astimezone().date() in freshness.state()
