"""The argv that an accepted request becomes: head, the caller's flags, the forced tail."""

import pytest

from contract import RequestError
from responder.arguments import DEFAULT_ARGS, OPT_INS, ArgumentPolicy

SAFE = ArgumentPolicy()
EVERYTHING_ALLOWED = ArgumentPolicy(allow=frozenset(OPT_INS))
HEAD = ("-p", "--output-format", "json")
FORCED = ("--setting-sources", "user", "--strict-mcp-config")
TAIL = ("--no-session-persistence", *FORCED)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

ACCEPTED: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["-p"], []),
    (["-p", "-p", "--print", "--print", "-p"], []),
    (["--output-format", "json"], []),
    (["--output-format=json"], []),
    (["--model", "sonnet"], ["--model", "sonnet"]),
    (["--model=claude-opus-4-8[1m]"], ["--model", "claude-opus-4-8[1m]"]),
    (["--model", "us.anthropic.claude-v2:0"], ["--model", "us.anthropic.claude-v2:0"]),
    (["--model", "projects/p/m@20250101"], ["--model", "projects/p/m@20250101"]),
    (["--fallback-model", "haiku"], ["--fallback-model", "haiku"]),
    (["--effort", "xhigh"], ["--effort", "xhigh"]),
    (["--max-turns", "99999"], ["--max-turns", "99999"]),
    (["--json-schema", '{"type":"object","a":"="}'], ["--json-schema", '{"type":"object","a":"="}']),
    (['--json-schema={"a":"b=c"}'], ["--json-schema", '{"a":"b=c"}']),
    (["--system-prompt", "two\nlines, and --flags"], ["--system-prompt", "two\nlines, and --flags"]),
    (["--system-prompt", ""], ["--system-prompt", ""]),
    (["--system-prompt="], ["--system-prompt", ""]),
    (["--append-system-prompt", "\u00e9"], ["--append-system-prompt", "\u00e9"]),
    (["--session-id", UUID], ["--session-id", UUID]),
    (["--no-session-persistence"], []),
    (["--tools", ""], ["--tools", ""]),
    (["--tools", "Read,Grep Bash"], ["--tools", "Read,Grep Bash"]),
    (["--disable-slash-commands", "--bare"], ["--disable-slash-commands", "--bare"]),
    (["--exclude-dynamic-system-prompt-sections"], ["--exclude-dynamic-system-prompt-sections"]),
    (["--permission-mode", "plan"], ["--permission-mode", "plan"]),
    (["--permission-mode=dontAsk"], ["--permission-mode", "dontAsk"]),
    (["--safe-mode"], ["--safe-mode"]),
    (["--include-partial-messages"], ["--include-partial-messages"]),
    (["--verbose"], ["--verbose"]),
    (["--verbose", "-p", "--verbose"], ["--verbose"]),
]


@pytest.mark.parametrize(("args", "kept"), ACCEPTED, ids=[" ".join(args) or "none" for args, _ in ACCEPTED])
def test_safe_flags_are_kept_between_head_and_tail(args: list[str], kept: list[str]) -> None:
    """What a request may use stands between our head and our tail, as the CLI spells it, one value an element."""
    assert SAFE.arguments(args).argv == (*HEAD, *kept, *TAIL)


def test_no_args_are_the_headless_ones() -> None:
    """A request without args runs the CLI's headless mode with a JSON result."""
    assert SAFE.arguments(None) == SAFE.arguments(DEFAULT_ARGS)
    assert SAFE.arguments(None).argv == (*HEAD, *TAIL)


def test_the_order_of_the_callers_flags_is_kept() -> None:
    """Flags stand in the order in which they were given."""
    argv = SAFE.arguments(["--effort", "low", "--bare", "--model", "m"]).argv
    assert argv[3:8] == ("--effort", "low", "--bare", "--model", "m")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-p", "--print"],
        ["--output-format", "stream-json", "--verbose"],
        ["--system-prompt", "x --setting-sources project"],
        ["--disallowedTools", "Bash", "--max-budget-usd", "3", "--tools", ""],
        ["--dangerously-skip-permissions", "--continue", "--fork-session", "--permission-mode", "bypassPermissions"],
        ["--name", "setting-sources", "--allowedTools", "Read"],
    ],
)
def test_what_is_forced_stands_last_and_once(args: list[str]) -> None:
    """The last of two settings flags wins in the CLI, so ours are the last, and there are no others."""
    argv = EVERYTHING_ALLOWED.arguments(args).argv
    assert argv[-3:] == FORCED
    assert argv[0] == "-p"
    for flag in ("-p", "--setting-sources", "--strict-mcp-config", "--output-format"):
        assert argv.count(flag) == 1
    assert "--print" not in argv


@pytest.mark.parametrize("denied", ["Bash", "Bash,WebFetch", "Bash(git push:*)", "mcp__x", "", "X(", "Read(//**)"])
def test_the_callers_denials_are_his_own(denied: str) -> None:
    """A list of denied tools goes to the CLI as it was given: it can only take away."""
    assert SAFE.arguments(["--disallowedTools", denied]).argv == (*HEAD, "--disallowedTools", denied, *TAIL)


@pytest.mark.parametrize("output_format", ["json", "stream-json"])
def test_formats_that_the_cli_prints(output_format: str) -> None:
    """JSON formats are run as they were asked for."""
    arguments = SAFE.arguments(["--output-format", output_format])
    assert arguments.argv[:3] == ("-p", "--output-format", output_format)
    assert arguments.output_format == output_format


def test_text_is_run_as_json() -> None:
    """Text is run as JSON, which alone can tell an answer from an error, and remembered for the reply."""
    arguments = SAFE.arguments(["--output-format", "text"])
    assert arguments.argv == (*HEAD, *TAIL)
    assert arguments.output_format == "text"


def test_text_is_not_verbose() -> None:
    """Verbose text is the same text: the flag, which would change the JSON into an array, is left out."""
    assert SAFE.arguments(["--verbose", "--output-format", "text", "--verbose"]).argv == (*HEAD, *TAIL)


OPT_IN_ARGS: dict[str, list[str]] = {
    "--dangerously-skip-permissions": ["--dangerously-skip-permissions"],
    "--allowedTools": ["--allowedTools", "Bash(git *)"],
    "--resume": ["--resume", UUID],
    "--continue": ["--continue"],
    "--fork-session": ["--fork-session"],
    "--agent": ["--agent", "reviewer"],
    "--betas": ["--betas", "beta-1,beta-2"],
    "--name": ["--name", "nightly run"],
    "--permission-mode=acceptEdits": ["--permission-mode", "acceptEdits"],
    "--permission-mode=auto": ["--permission-mode", "auto"],
    "--permission-mode=bypassPermissions": ["--permission-mode", "bypassPermissions"],
}


def test_every_opt_in_is_tried() -> None:
    """An opt-in that is added is added to the tests below."""
    assert set(OPT_IN_ARGS) == set(OPT_INS)


@pytest.mark.parametrize("name", OPT_INS)
def test_an_opt_in_needs_the_operator(name: str) -> None:
    """An opt-in is refused unless the operator named that very one, and the refusal says where it is named."""
    others = ArgumentPolicy(allow=frozenset(OPT_INS) - {name})
    for policy in (SAFE, others):
        with pytest.raises(RequestError, match=r"needs the operator's permission \(CLAUDE_RESPONDER_ALLOW"):
            policy.arguments(OPT_IN_ARGS[name])
    argv = ArgumentPolicy(allow=frozenset({name})).arguments(OPT_IN_ARGS[name]).argv
    assert argv[3 : 3 + len(OPT_IN_ARGS[name])] == tuple(OPT_IN_ARGS[name])


def test_permission_modes_joined_by_an_equals_sign_need_the_operator_too() -> None:
    """The other form of a flag is no way around the operator."""
    with pytest.raises(RequestError, match="needs the operator's permission"):
        SAFE.arguments(["--permission-mode=bypassPermissions"])


@pytest.mark.parametrize("flag", ["--model", "--fallback-model"])
def test_the_operators_models(flag: str) -> None:
    """With a list of models only those may be named, exactly; the refusal tells the list."""
    policy = ArgumentPolicy(models=("sonnet", "claude-opus-4"))
    assert policy.arguments([flag, "sonnet"]).argv[3:5] == (flag, "sonnet")
    for other in ("opus", "Sonnet", "sonnet-4", "son", "claude-opus-4[1m]"):
        with pytest.raises(RequestError, match=r"not one of the operator's models \(sonnet, claude-opus-4\)"):
            policy.arguments([flag, other])


@pytest.mark.parametrize("tools", ["", "Read", "Read,Grep", "Grep Read", "Read, Grep", ",Read,,", " "])
def test_a_subset_of_the_operators_tools(tools: str) -> None:
    """With a list of tools any part of it may be named, the empty one included."""
    assert ArgumentPolicy(tools=("Read", "Grep")).arguments(["--tools", tools]).argv[3:5] == ("--tools", tools)


@pytest.mark.parametrize("tools", ["Bash", "Read,Bash", "Read Bash", "read", "default", "ReadGrep", "Read:Grep"])
def test_more_than_the_operators_tools(tools: str) -> None:
    """One tool beyond the list refuses the request, and the refusal tells the list."""
    with pytest.raises(RequestError, match=r"names more than the operator's tools \(Read, Grep\)"):
        ArgumentPolicy(tools=("Read", "Grep")).arguments(["--tools", tools])


@pytest.mark.parametrize(
    ("limit", "asked", "given"),
    [
        (None, None, None),
        (None, "999999.5", "999999.5"),
        (2.5, None, "2.5"),
        (2.5, "2.5", "2.5"),
        (2.5, "2.500000001", "2.5"),
        (2.5, "100", "2.5"),
        (2.5, "0.01", "0.01"),
        (10.0, None, "10"),
        (100.0, "1000", "100"),
        (0.000001, None, "0.000001"),
        (0.1 + 0.2, None, "0.3"),
        (1e6, None, "1000000"),
    ],
)
def test_the_operators_budget_is_the_most(limit: float | None, asked: str | None, given: str | None) -> None:
    """A request that names more than the operator's budget, or nothing, gets the operator's."""
    args = [] if asked is None else ["--max-budget-usd", asked]
    argv = ArgumentPolicy(max_budget_usd=limit).arguments(args).argv
    assert argv.count("--max-budget-usd") == (given is not None)
    if given is not None:
        assert argv[argv.index("--max-budget-usd") + 1] == given


@pytest.mark.parametrize("allowed", ["--resume", "--continue"])
def test_transcripts_are_kept_only_where_requests_may_read_them(allowed: str) -> None:
    """A run leaves no transcript unless the operator lets requests resume one; then it is the caller's choice."""
    policy = ArgumentPolicy(allow=frozenset([allowed]))
    assert policy.arguments([]).argv == (*HEAD, *FORCED)
    assert policy.arguments(["--no-session-persistence"]).argv == (*HEAD, "--no-session-persistence", *FORCED)


def test_the_callers_own_texts_are_told() -> None:
    """What a request says in system prompts is known, for errors not to repeat it."""
    arguments = SAFE.arguments(["--system-prompt", "be brief", "--model", "m", "--append-system-prompt=and kind"])
    assert arguments.private == ("be brief", "and kind")
    assert SAFE.arguments(None).private == ()
