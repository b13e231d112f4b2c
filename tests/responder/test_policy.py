"""The argument policy as a table for people."""

from rich.console import Console

from responder.arguments import FLAGS, OPT_INS, ArgumentPolicy
from responder.policy import policy_table

WIDE = 200


def shown(policy: ArgumentPolicy) -> list[str]:
    console = Console(width=WIDE)
    with console.capture() as capture:
        console.print(policy_table(policy))
    return capture.get().splitlines()


def row_of(name: str, lines: list[str]) -> str:
    return next(line for line in lines if f" {name} " in line)


def test_every_flag_and_opt_in_is_listed() -> None:
    """What a request may use here, and what the operator could allow, is all in the table."""
    lines = shown(ArgumentPolicy())
    for name in (*(flag.name for flag in FLAGS), *OPT_INS):
        assert row_of(name, lines)


def test_the_operators_bounds_are_told() -> None:
    """Beside a flag stands what the operator allows of it."""
    policy = ArgumentPolicy(frozenset({"--continue"}), ("sonnet",), ("Read", "Grep"), 1.5)
    lines = shown(policy)
    assert "allowed: sonnet" in row_of("--model", lines)
    assert "allowed: Read, Grep" in row_of("--tools", lines)
    assert "allowed: at most 1.5" in row_of("--max-budget-usd", lines)
    assert "allowed by the operator" in row_of("--continue", lines)
    assert "needs the operator" in row_of("--dangerously-skip-permissions", lines)


def test_the_forced_flags_are_told() -> None:
    """The caption shows what a request without args really runs."""
    assert "--setting-sources user --strict-mcp-config" in " ".join(" ".join(shown(ArgumentPolicy())).split())
