"""Arguments that no request gets through: every measured vector, every misshapen flag, and what the refusal says."""

from collections.abc import Sequence

import pytest

from contract import ErrorCode, RequestError
from responder.arguments import FLAGS, OPT_INS, ArgumentPolicy

CANARY = "canary-5f1c9"
SAFE = ArgumentPolicy()
EVERYTHING_ALLOWED = ArgumentPolicy(allow=frozenset(OPT_INS))


def refusal_of(args: Sequence[str], policy: ArgumentPolicy = EVERYTHING_ALLOWED) -> str:
    with pytest.raises(RequestError) as caught:
        policy.arguments(args)
    assert caught.value.code is ErrorCode.ARGUMENT_REFUSED
    message = str(caught.value)
    assert message.startswith("argument refused: ")
    assert message.isprintable()
    assert CANARY not in message
    return message


# Each row of docs' table of measured attacks, and each further flag that runs, reads, writes or redirects something.
VECTORS = (
    "--settings",
    "--setting-sources",
    "--mcp-config",
    "--strict-mcp-config",
    "--mcp-debug",
    "--plugin-dir",
    "--agents",
    "--system-prompt-file",
    "--append-system-prompt-file",
    "--debug-file",
    "--debug",
    "--bg",
    "--add-dir",
    "--permission-prompt-tool",
    "--permission-prompts",
    "--input-format",
    "--replay-user-messages",
    "--allow-dangerously-skip-permissions",
    "--allowed-tools",
    "--disallowed-tools",
    "--ide",
    "--chrome",
    "--file",
    "--from-pr",
    "--teleport",
    "--remote",
    "--sdk-url",
    "--init",
    "--init-only",
    "--maintenance",
    "--worktree",
    "--tmux",
    "--max-thinking-tokens",
    "--help",
    "--version",
    "--not-a-flag-at-all",
)


@pytest.mark.parametrize("flag", VECTORS)
def test_a_flag_outside_the_table_is_refused_by_name(flag: str) -> None:
    """Whatever the operator allows, a flag that is not in the table is refused, alone, with a value and with `=`."""
    for args in ([flag], [flag, CANARY], [f"{flag}={CANARY}"], ["-p", "--model", "sonnet", flag, CANARY]):
        assert flag in refusal_of(args)


@pytest.mark.parametrize("flag", ["-c", "-r", "-d", "-h", "-v", "-w", "-n", "-P", "-cp", "-pc", "-pd", "-pr", "-p-"])
def test_short_flags_other_than_print_are_refused(flag: str) -> None:
    """The CLI takes short flags combined, so anything that is not exactly `-p` is refused."""
    refusal_of([flag])
    refusal_of(["-p", flag, CANARY])


@pytest.mark.parametrize(
    "flag", ["--mod", "--mode", "--print-", "--prin", "--dangerously-skip", "--settin", "--res", "--disallowedTool"]
)
def test_abbreviations_are_refused(flag: str) -> None:
    """The CLI accepts abbreviations; a request has to spell its flags out."""
    assert flag in refusal_of([flag, CANARY])
    assert flag in refusal_of([f"{flag}={CANARY}"])


@pytest.mark.parametrize("flag", ["--Model", "--MODEL", "--disallowedtools", "--DANGEROUSLY-SKIP-PERMISSIONS", "-P"])
def test_other_spellings_are_refused(flag: str) -> None:
    """A flag is itself, in its own case, and nothing like it."""
    refusal_of([flag, CANARY])


@pytest.mark.parametrize(
    "arg",
    [
        CANARY,
        f"@/etc/{CANARY}",
        f"{CANARY} --model",
        "",
        " ",
        "-",
        "--",
        "---",
        "--=",
        f"--={CANARY}",
        f"-p={CANARY}",
        " -p",
        "-p ",
        "--model ",
        " --model",
        "--model\n",
        "--model\0",
        "\0",
        f"--model\0={CANARY}",
        "\u2013p",
        "\u2014print",
        "--m\u00f6del",
        f"--{CANARY} {CANARY}",
        f"{CANARY}=--model",
    ],
)
def test_what_is_no_flag_is_refused_unseen(arg: str) -> None:
    """A positional argument, `--`, or anything that only resembles a flag is refused, and not shown."""
    message = refusal_of([arg])
    assert "an argument that is no flag" in message or "a flag is not one" in message or "--model" in message
    refusal_of(["-p", arg, "--model", "sonnet"])
    refusal_of(["--model", "sonnet", arg])


def test_nothing_stands_after_a_flags_value() -> None:
    """A second value is a positional argument, which the CLI would append to the prompt."""
    assert "no flag" in refusal_of(["--model", "sonnet", CANARY])
    assert "no flag" in refusal_of(["--tools", "Read", CANARY])
    assert "no flag" in refusal_of(["--verbose", CANARY])


def test_a_double_dash_does_not_end_the_checks() -> None:
    """After `--` a flag is still a flag here: the whole list is refused."""
    refusal_of(["--", "--settings", CANARY])


TAKES_VALUE = [flag.name for flag in FLAGS if flag.takes]
SWITCHES = [flag.name for flag in FLAGS if not flag.takes]


@pytest.mark.parametrize("flag", TAKES_VALUE)
@pytest.mark.parametrize("value", [f"--{CANARY}", f"-{CANARY}", "-", "--", "--settings", "-p"])
def test_a_value_that_begins_with_a_dash_is_refused(flag: str, value: str) -> None:
    """No value can be read as a flag by the CLI."""
    for args in ([flag, value], [f"{flag}={value}"]):
        assert f"{flag} has a value that begins with a dash" in refusal_of(args)


@pytest.mark.parametrize("flag", TAKES_VALUE)
def test_a_value_with_a_nul_is_refused(flag: str) -> None:
    """A NUL, which would cut an argument, is refused wherever it stands in a value."""
    for value in ("\0", f"{CANARY}\0", f"\0{CANARY}", f"so\0{CANARY}"):
        for args in ([flag, value], [f"{flag}={value}"]):
            assert f"{flag} has a value" in refusal_of(args)


@pytest.mark.parametrize("flag", TAKES_VALUE)
def test_a_missing_value_is_refused(flag: str) -> None:
    """A flag at the end that needs a value is refused: it would swallow what is put behind it."""
    assert f"{flag} needs a value" in refusal_of(["-p", flag])


@pytest.mark.parametrize("flag", [flag for flag in SWITCHES if flag != "-p"])
def test_a_value_where_none_is_taken_is_refused(flag: str) -> None:
    """A switch has no value, not even an empty one."""
    for value in (CANARY, "", "true", "false"):
        assert f"{flag} takes no value" in refusal_of([f"{flag}={value}"])


VALUES = {
    "--output-format": "json",
    "--model": "sonnet",
    "--fallback-model": "haiku",
    "--effort": "low",
    "--max-budget-usd": "1",
    "--max-turns": "3",
    "--json-schema": "{}",
    "--system-prompt": "text",
    "--append-system-prompt": "text",
    "--session-id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "--tools": "Read",
    "--disallowedTools": "Bash",
    "--permission-mode": "plan",
    "--allowedTools": "Read",
    "--resume": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "--agent": "reviewer",
    "--betas": "beta-1",
    "--name": "a name",
}


def test_every_flag_has_an_example() -> None:
    """A flag that is added to the table is added to the tests below."""
    assert set(VALUES) == set(TAKES_VALUE)


@pytest.mark.parametrize("flag", [name for name in (*TAKES_VALUE, *SWITCHES) if name not in {"-p", "--print"}])
def test_a_flag_given_twice_is_refused(flag: str) -> None:
    """The last of two wins in the CLI, so a second one is refused in either form; `--verbose` is harmless."""
    once = [flag, VALUES[flag]] if flag in VALUES else [flag]
    joined = [f"{flag}={VALUES[flag]}"] if flag in VALUES else [flag]
    for args in ([*once, *once], [*once, *joined], [*joined, "-p", *once]):
        if flag == "--verbose":
            EVERYTHING_ALLOWED.arguments(args)
        else:
            assert f"{flag} is given twice" in refusal_of(args)


BAD_VALUES = {
    "--output-format": ["", "xml", "JSON", "json ", "stream-json\n"],
    "--model": ["", "a b", "\u00e9", ".hidden", "x" * 129, "a;b", "a\n", "$(id)", "a,b"],
    "--fallback-model": ["", "a b", "a\n", "a,b"],
    "--effort": ["", "MAX", "ultra", "low\n"],
    "--max-budget-usd": ["", "0", "0.0", "00", "1e9", "inf", "nan", "0x1", "1,5", "1.", ".5", "1\n", "\u0661", "1 "],
    "--max-turns": ["", "0", "01", "1.5", "100000", "1e3", "\u0661", "1\n", "+1"],
    "--json-schema": ["", "[]", "1", "null", '"x"', "{", '{"a":}', "[" * 5_000, '{"a":' * 5_000, "/etc/passwd"],
    "--session-id": ["", "x", "0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e\n"],
    "--resume": ["", "a title", "../x", "0f8fad5b-d9cb-469f-a165-70867728950e/.."],
    "--tools": ["Bash(rm *)", "a\nb", "a;b", "@x", "\u00e9"],
    "--permission-mode": ["", "Plan", "bypass", "plan\n"],
    "--agent": ['{"a":1}', "a\nb", "a/b", "@x"],
    "--betas": ["a;b", "a\nb"],
    "--name": ["\u001b[31m", "a\nb", "<b>"],
}


@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in BAD_VALUES.items() for value in values])
def test_values_that_are_not_what_a_flag_takes(flag: str, value: str) -> None:
    """A value that the flag's validator does not know is refused by the flag's name, without the value."""
    for args in ([flag, value], [f"{flag}={value}"]):
        assert f"argument refused: {flag} " in refusal_of(args)


@pytest.mark.parametrize(
    ("flag", "limit", "filler"),
    [
        ("--system-prompt", 8 * 1024, "x"),
        ("--append-system-prompt", 8 * 1024, "x"),
        ("--disallowedTools", 8 * 1024, "x"),
        ("--allowedTools", 8 * 1024, "x"),
        ("--tools", 2048, "x"),
        ("--model", 128, "x"),
    ],
)
def test_values_at_the_boundary(flag: str, limit: int, filler: str) -> None:
    """A value of the longest size is accepted, one byte more is refused by name and not by value."""
    EVERYTHING_ALLOWED.arguments([flag, filler * limit])
    message = refusal_of([flag, filler * (limit + 1)])
    assert flag in message
    assert filler * 10 not in message


def test_sizes_are_bytes() -> None:
    """A value is measured in UTF-8, and the refusal has both sizes."""
    SAFE.arguments(["--system-prompt", "\u00e9" * 4096])
    assert "has a value of 8194 bytes, the limit is 8192" in refusal_of(["--system-prompt", "\u00e9" * 4097])


def test_a_schema_may_be_longer() -> None:
    """A JSON Schema of 32 KiB is accepted, one byte more is refused."""
    schema = '{"a":"' + "x" * (32 * 1024 - 8) + '"}'
    SAFE.arguments(["--json-schema", schema])
    assert "--json-schema has a value of 32769 bytes" in refusal_of(["--json-schema", schema.replace("x", "xx", 1)])


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ([f"--{'x' * 41}"], f"--{'x' * 41}"),
        ([f"--{'x' * 42}"], "a flag"),
        (["--sk_ant_secret"], "a flag"),
        (["--a.b"], "a flag"),
        (["--\x1b[31m"], "a flag"),
        ([f"--settings={{{CANARY}}}"], "--settings"),
    ],
)
def test_only_what_looks_like_a_flag_is_shown(args: list[str], shown: str) -> None:
    """A refusal shows a short name of letters, digits and dashes, and nothing else of the argument."""
    assert refusal_of(args).startswith(f"argument refused: {shown} is not one that a request may use")
