"""What the demo takes from the operator's environment, and what it hands on."""

from pathlib import Path

import pytest

from examples.demo.error import DemoError
from examples.demo.questions import QUESTIONS, stub_script
from examples.demo.settings import read_settings, responder_environment

CANARY = "canary-key"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    cli = tmp_path / "claude"
    cli.touch(mode=0o700)
    return {
        "PATH": str(tmp_path),
        "HOME": "/home/operator",
        "ANTHROPIC_API_KEY": CANARY,
        "CLAUDE_CODE_OAUTH_TOKEN": CANARY,
        "NATS_URL": "nats://production",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://production",
    }


def test_stub_gets_nothing_of_the_operators(environ: dict[str, str], tmp_path: Path) -> None:
    """Without LIVE a responder's environment is made from nothing: no key, no HOME, no address of the operator's."""
    environment = responder_environment(read_settings(environ), "one", tmp_path)
    assert environment == {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "CLAUDE_RESPONDER_NAME": "one",
        "CLAUDE_RESPONDER_CLI": str(tmp_path / "claude"),
        "CLAUDE_RESPONDER_SLOTS": "1",
    }


def test_live_gets_the_account(environ: dict[str, str], tmp_path: Path) -> None:
    """With LIVE=1 the CLI's account goes along, and nothing else of the operator's."""
    settings = read_settings(environ | {"LIVE": "1"})
    environment = responder_environment(settings, "one", tmp_path)
    assert settings.is_live
    assert (environment["HOME"], environment["ANTHROPIC_API_KEY"]) == ("/home/operator", CANARY)
    assert environment["CLAUDE_CODE_OAUTH_TOKEN"] == CANARY
    assert "production" not in repr(environment)


def test_account_is_not_shown(environ: dict[str, str]) -> None:
    """The settings' repr has no credential."""
    assert CANARY not in repr(read_settings(environ | {"LIVE": "1"}))


@pytest.mark.parametrize("value", ["", "0"])
def test_not_live(environ: dict[str, str], value: str) -> None:
    """LIVE counts only when it is set to something."""
    assert not read_settings(environ | {"LIVE": value}).is_live


def test_named_cli_wins(environ: dict[str, str], tmp_path: Path) -> None:
    """CLAUDE_CLI names the CLI, whatever is on PATH."""
    (tmp_path / "other").touch(mode=0o700)
    assert read_settings(environ | {"CLAUDE_CLI": str(tmp_path / "other")}).cli == tmp_path / "other"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"CLAUDE_CLI": "/no/such/cli"}, "CLAUDE_CLI names no executable: /no/such/cli"),
        ({"PATH": "/nowhere"}, "no claude on PATH"),
    ],
)
def test_no_cli(environ: dict[str, str], more: dict[str, str], message: str) -> None:
    """Without a CLI there is one line that says what to set."""
    with pytest.raises(DemoError, match=message):
        read_settings(environ | more)


def test_every_question_has_its_answer() -> None:
    """The stub answers each question with a text of its own, after a time in which a model would think."""
    rules = stub_script().rules
    assert [question for question in QUESTIONS for rule in rules if rule.match.takes(question, "any")] == list(
        QUESTIONS
    )
    assert len({rule.text for rule in rules}) == len(QUESTIONS) == 3
    assert all(0.3 <= rule.delay_s <= 0.8 for rule in rules)
