"""Putting a responder together: what the operator sets arrives where it counts."""

import importlib.metadata
from pathlib import Path

import pytest

from contract import RequestError
from responder.assembly import argument_policy, assemble, version
from responder.settings import ResponderSettings
from responder.standby_arguments import mold_of_arguments
from responder.standby_limits import ReuseLimits, StandbyLimits

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


async def test_what_waits_is_started_with_the_same(tmp_path: Path) -> None:
    """What is started ahead has the executable, the environment, the limits and the stop of every other run."""
    settings = ResponderSettings(
        cli=tmp_path / "claude",
        slots=3,
        scratch=tmp_path,
        output_max_bytes=2000,
        stop_step_s=0.5,
        standby_memory_mb=100,
        standby_age_max_s=60.0,
        standby_args=(("--model", "opus"), ("--continue",)),
        allow=("--continue",),
    )
    parts = assemble(settings, {"PATH": "/bin"}, tracing=False)
    standby, execution = parts.service.execution.standby, parts.service.execution
    assert standby is not None
    assert standby.limits == StandbyLimits(9, 100 * 1024 * 1024, age_max_s=60.0)
    ground = standby.ground
    assert (ground.cli, ground.env) == (str(execution.cli), execution.environment.build())
    assert (ground.directories, ground.sweeper) == (execution.directories, parts.sweeper)
    assert (ground.limits.output_max_bytes, ground.limits.stop_step_s) == (2000, 0.5)
    opus = mold_of_arguments(argument_policy(settings).arguments(("--model", "opus")))
    assert standby.demand.wanted(0.0, 10) == {opus: 1}
    assert standby.is_fit()
    parts.runner.stop_all()
    assert ground.stopped.done()


async def test_how_long_a_cli_serves(tmp_path: Path) -> None:
    """How many requests of one caller a CLI serves, up to which age and size, is what the operator says."""
    settings = ResponderSettings(cli=tmp_path / "claude", reuse_max=7, reuse_age_max_s=30.0, reuse_memory_mb=100)
    for given, expected in (
        (settings, ReuseLimits(7, 30.0, 100 * 1024 * 1024)),
        (ResponderSettings(cli=tmp_path / "claude"), ReuseLimits()),
    ):
        standby = assemble(given, {}, tracing=False).service.execution.standby
        assert standby is not None
        assert standby.limits.reuse == expected
    assert ReuseLimits().requests_max == 0


@pytest.mark.parametrize("count", [0, 1])
async def test_how_many_wait(tmp_path: Path, count: int) -> None:
    """As many wait as the operator says; with none there is nothing that could."""
    parts = assemble(ResponderSettings(cli=tmp_path / "claude", standby_max=count), {}, tracing=False)
    standby = parts.service.execution.standby
    assert (None if standby is None else standby.limits.count_max) == (count or None)


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
