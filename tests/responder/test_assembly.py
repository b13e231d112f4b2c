"""Putting a responder together: what the operator sets arrives where it counts."""

import importlib.metadata
from pathlib import Path

import pytest

from contract import RequestError
from responder.assembly import argument_policy, assemble, version
from responder.settings import ResponderSettings

pytestmark = pytest.mark.usefixtures("patience")
CANARY = "canary-5f1c9"


async def test_settings_arrive(tmp_path: Path) -> None:
    """Each setting is in the part that it is for."""
    (tmp_path / "repo").mkdir()
    settings = ResponderSettings(
        name="r7",
        cli=tmp_path / "claude",
        slots=3,
        subject_prefix="team.claude",
        inbox_prefix="_INBOX_req",
        prompt_max_bytes=10,
        timeout_max_s=90.5,
        cwd_roots=(str(tmp_path),),
        models=("sonnet",),
        tools=("Read",),
        allow=("--continue",),
        max_budget_usd=2.0,
        cli_max_retries=4,
        cli_env=("EXTRA",),
    )
    host = {"EXTRA": "x", "OTHER": CANARY, "ANTHROPIC_API_KEY": "sk-secret"}
    parts = assemble(settings, host, tracing=False)
    service = parts.service
    assert (service.slots.count, service.inbox_prefix, service.answers.responder) == (3, "_INBOX_req", "r7")
    assert service.answers.secrets == {"sk-secret"}
    assert service.execution.cli == tmp_path / "claude"
    environment = service.execution.environment.build()
    assert (environment["EXTRA"], environment["CLAUDE_CODE_MAX_RETRIES"]) == ("x", "4")
    assert CANARY not in environment.values()
    assert environment["CLAUDE_NATS_RESPONDER"] == parts.mark
    assert service.admission.policy == argument_policy(settings)
    assert (service.admission.limits.prompt_max_bytes, service.admission.limits.timeout_max_ms) == (10, 90_500)
    service.admission.directories.check("repo")
    assert parts.micro.subjects.execute == "team.claude.execute"
    assert parts.micro.subjects_of("PING")[-1] == "$SRV.PING.claude-cli.r7"
    assert parts.health.service is service
    assert parts.micro.statistics is service.statistics


async def test_every_responder_has_a_mark_of_its_own() -> None:
    """Two responders on one machine are not taken for each other by their watchdogs."""
    marks = [assemble(ResponderSettings(), {}, tracing=False).mark for _ in range(2)]
    assert all(marks)
    assert marks[0] != marks[1]


async def test_the_policy_is_the_operators() -> None:
    """What the operator allows is allowed, and nothing else."""
    policy = argument_policy(
        ResponderSettings(allow=("--continue",), models=("sonnet",), tools=("Read",), max_budget_usd=2.0)
    )
    policy.arguments(["--continue", "--model", "sonnet", "--tools", "Read"])
    for args in (["--fork-session"], ["--model", "opus"], ["--tools", "Bash"]):
        with pytest.raises(RequestError):
            policy.arguments(args)
    assert policy.max_budget_usd == 2.0


def test_the_version_is_the_distributions() -> None:
    """The version that is told is that of the installed distribution."""
    assert version() == importlib.metadata.version("claude-nats")
