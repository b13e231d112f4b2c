"""The models of a script and the reader of its file."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from responder.stub_api.script import Match, Rule, ScriptError, load_script


def test_a_script_file_is_read_as_written(tmp_path: Path) -> None:
    """A rule's options reach the model, and what is left out takes its default."""
    path = tmp_path / "script.json"
    path.write_text('{"rules": [{"match": {"prompt": "list"}, "times": 2, "status": 429, "retry_after_s": 3}, {}]}')
    first, second = load_script(path).rules
    assert (first.match.prompt, first.times, first.status, first.retry_after_s) == ("list", 2, 429, 3)
    assert second == Rule()


def test_the_example_in_the_documentation_is_a_script(tmp_path: Path) -> None:
    """The script in the module's docstring loads."""
    import responder.stub_api.script as module

    documented = (module.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    path = tmp_path / "script.json"
    path.write_text(documented)
    assert len(load_script(path).rules) == 4


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"rules": [{"txet": "a"}]}, ["rules.0.txet", "write text"]),
        ({"rules": [{"zzzzzz": 1}]}, ["rules.0.zzzzzz", "remove it"]),
        ({"rules": [{"tool": {"name": "Bash", "inputs": {}}}]}, ["rules.0.tool.inputs", "write input"]),
        ({"rules": [{"status": 418}]}, ["rules.0.status", "400"]),
        ({"rules": [{"text": "a", "echo": True}]}, ["echo and text exclude each other", "keep one"]),
        ({"rules": [{"hang": True, "tool": {"name": "Bash"}}]}, ["tool has no effect beside hang", "remove"]),
        ({"rules": [{"status": 500, "disconnect": True}]}, ["disconnect has no effect beside status", "remove"]),
        ({"rules": [{"text": "a", "retry_after_s": 1}]}, ["retry_after_s belongs to an error", "add status"]),
        ({"rules": [{"times": 0}, {"times": 0}]}, ["rules.0.times", "and 1 more"]),
        ({"rules": [{"text_bytes": 0}]}, ["rules.0.text_bytes"]),
        ({"rules": [{"delay_s": -1}]}, ["rules.0.delay_s"]),
        ({"rules": [{"headers": {"a": "b\nc"}}]}, ["rules.0.headers.a"]),
    ],
)
def test_a_wrong_script_is_refused_in_one_line(tmp_path: Path, document: Any, words: list[str]) -> None:
    """The message names the file, the place and the remedy."""
    path = tmp_path / "script.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ScriptError) as caught:
        load_script(path)
    message = str(caught.value)
    assert [word for word in [str(path), *words] if word not in message] == []
    assert "\n" not in message


def test_a_file_that_is_not_json_is_refused_with_the_place(tmp_path: Path) -> None:
    """A syntax error is reported with its line."""
    path = tmp_path / "script.json"
    path.write_text('{"rules": [\n}')
    with pytest.raises(ScriptError, match="line 2"):
        load_script(path)


def test_a_missing_file_is_refused_with_an_example(tmp_path: Path) -> None:
    """The message shows what to write."""
    with pytest.raises(ScriptError, match=r'No such file.*"rules"'):
        load_script(tmp_path / "none.json")


def test_a_script_cannot_be_changed() -> None:
    """Models are frozen, so a script in use is what was given."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Rule(text="a"), "text", "b")  # noqa: B010 - mypy refuses the assignment itself


@pytest.mark.parametrize(
    ("match", "takes"),
    [
        (Match(), True),
        (Match(prompt="ell"), True),
        (Match(prompt="ELL"), False),
        (Match(model="claude-*-4"), True),
        (Match(model="claude"), False),
        (Match(prompt="hello", model="*haiku*"), False),
    ],
)
def test_a_match_takes_what_fulfils_both_conditions(match: Match, *, takes: bool) -> None:
    """The prompt holds the text and the model's whole name fits the pattern."""
    assert match.takes("hello", "claude-opus-4") is takes
