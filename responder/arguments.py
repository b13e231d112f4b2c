"""Which of the CLI's flags a request may use: an allow-list with arity and validators, and the argv it becomes.

An allow-list, never a deny-list: `--help` of CLI 2.1.197 lists about 66 flags and more are hidden, several of them run
commands (`--settings` with hooks, `--mcp-config`, `--plugin-dir`, `--agents`), read files (`--system-prompt-file`) or
write them (`--debug-file`). The last of two settings flags wins, so what is forced stands last and repeats are refused.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from contract import ErrorCode, RequestError

DEFAULT_ARGS = ("-p", "--output-format", "json")
_VALUE_MAX_BYTES = 8 * 1024
_SCHEMA_MAX_BYTES = 32 * 1024
# What no request can change: settings come from the operator's home and never from the working directory, where hooks
# run commands and `env` sends the API key elsewhere; and no MCP servers.
_FORCED_TAIL = ("--setting-sources", "user", "--strict-mcp-config")
# Without it each run leaves a transcript in the CLI's home, the prompt included; only these flags can read one.
_NO_TRANSCRIPT = "--no-session-persistence"
_READ_TRANSCRIPTS = frozenset(("--resume", "--continue"))

Validator = Callable[[str], str | None]
"""Gives what is wrong with a value, without the value, or None."""


@dataclass(frozen=True)
class Flag:
    """One flag of the CLI that may come from a request.

    Attributes:
        name: As the CLI spells it.
        takes: What its value is, in a word or two; empty for a switch.
        validate: Checks the value.
        opt_in: Whether the operator has to allow it by name.
        value_max_bytes: The longest value.
    """

    name: str
    takes: str = ""
    validate: Validator = field(default=lambda _value: None, repr=False)
    opt_in: bool = False
    value_max_bytes: int = _VALUE_MAX_BYTES


def _pattern(expression: str, meaning: str) -> Validator:
    compiled = re.compile(expression)
    return lambda value: None if compiled.fullmatch(value) else f"is not {meaning}"


def _one_of(*choices: str) -> Validator:
    return lambda value: None if value in choices else f"is not one of {', '.join(choices)}"


def _schema(value: str) -> str | None:
    try:
        is_object = isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        is_object = False
    return None if is_object else "is not a JSON object"


_MODEL = _pattern(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}", "the name of a model")
_UUID = _pattern(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "a UUID")
_NAMES = _pattern(r"[A-Za-z0-9_.,: -]{0,2048}", "a list of names")
_POSITIVE = _pattern(r"(?!0+(\.0+)?$)[0-9]{1,6}(\.[0-9]{1,9})?", "a positive number")
_WHOLE = _pattern(r"[1-9][0-9]{0,4}", "a whole number from 1 to 99999")
_PERMISSION_MODES = ("default", "plan", "dontAsk")
_PERMISSION_MODES_OPT_IN = ("acceptEdits", "auto", "bypassPermissions")

_OUTPUT_FORMAT = "--output-format"
# Run as json, answered as text: the text alone cannot tell an answer from an error, and has no usage and no cost.
_TEXT = "text"
_HEADLESS = ("-p", "--print")
_REPEATABLE = (*_HEADLESS, "--verbose")
_BUDGET = "--max-budget-usd"

FLAGS: tuple[Flag, ...] = (
    Flag("-p"),
    Flag("--print"),
    Flag(_OUTPUT_FORMAT, "format", _one_of("text", "json", "stream-json")),
    Flag("--verbose"),
    Flag("--include-partial-messages"),
    Flag("--model", "model", _MODEL),
    Flag("--fallback-model", "model", _MODEL),
    Flag("--effort", "level", _one_of("low", "medium", "high", "xhigh", "max")),
    Flag(_BUDGET, "USD", _POSITIVE),
    Flag("--max-turns", "number", _WHOLE),
    Flag("--json-schema", "JSON Schema", _schema, value_max_bytes=_SCHEMA_MAX_BYTES),
    Flag("--system-prompt", "text"),
    Flag("--append-system-prompt", "text"),
    Flag("--session-id", "UUID", _UUID),
    Flag(_NO_TRANSCRIPT),
    Flag("--tools", "tools", _NAMES),
    Flag("--disallowedTools", "tools"),
    Flag("--disable-slash-commands"),
    Flag("--exclude-dynamic-system-prompt-sections"),
    Flag("--permission-mode", "mode", _one_of(*_PERMISSION_MODES, *_PERMISSION_MODES_OPT_IN)),
    Flag("--bare"),
    Flag("--safe-mode"),
    Flag("--dangerously-skip-permissions", opt_in=True),
    Flag("--allowedTools", "tools", opt_in=True),
    Flag("--resume", "session UUID", _UUID, opt_in=True),
    Flag("--continue", opt_in=True),
    Flag("--fork-session", opt_in=True),
    Flag("--agent", "name", _NAMES, opt_in=True),
    Flag("--betas", "names", _NAMES, opt_in=True),
    Flag("--name", "text", _NAMES, opt_in=True),
)
OPT_INS: tuple[str, ...] = (
    *(flag.name for flag in FLAGS if flag.opt_in),
    *(f"--permission-mode={mode}" for mode in _PERMISSION_MODES_OPT_IN),
)
_BY_NAME = {flag.name: flag for flag in FLAGS}


@dataclass(frozen=True)
class ArgumentPolicy:
    """What the operator allows beyond the safe flags, and within them.

    Attributes:
        allow: Opt-ins by name, from `OPT_INS`.
        models: The models that may be named; empty means any.
        tools: The tools that may be named in `--tools`; empty means any.
        max_budget_usd: The most one run may cost; a request that names more, or nothing, gets this. None: no bound.
    """

    allow: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    max_budget_usd: float | None = None

    def arguments(self, args: Sequence[str] | None) -> "Arguments":
        """Turn a request's arguments into those the CLI is started with.

        Args:
            args: As the caller gave them; None means `DEFAULT_ARGS`.

        Raises:
            RequestError: An argument is refused; names the flag, never its value.
        """
        given = self._read(DEFAULT_ARGS if args is None else args)
        output_format = given.pop(_OUTPUT_FORMAT, None) or "json"
        budget = given.pop(_BUDGET, None)
        tail = _FORCED_TAIL if self.allow & _READ_TRANSCRIPTS else (_NO_TRANSCRIPT, *_FORCED_TAIL)
        for name in (*_HEADLESS, *tail):
            given.pop(name, None)
        if output_format == _TEXT:
            given.pop("--verbose", None)
        argv = ["-p", _OUTPUT_FORMAT, "json" if output_format == _TEXT else output_format]
        for name, value in given.items():
            argv += [name] if value is None else [name, value]
        if (limit := self._budget(budget)) is not None:
            argv += [_BUDGET, limit]
        return Arguments((*argv, *tail), output_format)

    def _read(self, args: Iterable[str]) -> dict[str, str | None]:
        given: dict[str, str | None] = {}
        rest = iter(args)
        for arg in rest:
            name, has_value, value = arg.partition("=") if arg.startswith("--") else (arg, "", "")
            flag = _BY_NAME.get(name)
            if flag is None:
                raise _refusal(_describe(name), "is not one that a request may use (see claude-responder policy)")
            if flag.opt_in and name not in self.allow:
                raise _refusal(name, "needs the operator's permission (CLAUDE_RESPONDER_ALLOW)")
            if name in given and name not in _REPEATABLE:
                raise _refusal(name, "is given twice")
            if not flag.takes:
                if has_value:
                    raise _refusal(name, "takes no value")
                given[name] = None
                continue
            given[name] = self._checked(flag, value if has_value else next(rest, None))
        return given

    def _checked(self, flag: Flag, value: str | None) -> str:
        if value is None:
            raise _refusal(flag.name, f"needs a value ({flag.takes})")
        if value.startswith("-") or "\0" in value:
            raise _refusal(flag.name, "has a value that begins with a dash or holds a NUL")
        if len(value.encode()) > flag.value_max_bytes:
            raise _refusal(
                flag.name, f"has a value of {len(value.encode())} bytes, the limit is {flag.value_max_bytes}"
            )
        problem = flag.validate(value) or self._beyond_the_operators_list(flag.name, value)
        if problem:
            raise _refusal(flag.name, f"has a value that {problem}")
        return value

    def _beyond_the_operators_list(self, name: str, value: str) -> str | None:
        if name in {"--model", "--fallback-model"} and self.models and value not in self.models:
            return f"is not one of the operator's models ({', '.join(self.models)})"
        if name == "--tools" and self.tools and not set(re.split(r"[, ]+", value)) - {""} <= set(self.tools):
            return f"names more than the operator's tools ({', '.join(self.tools)})"
        if name == "--permission-mode" and value in _PERMISSION_MODES_OPT_IN and f"{name}={value}" not in self.allow:
            return f"needs the operator's permission (CLAUDE_RESPONDER_ALLOW={name}=…)"
        return None

    def _budget(self, asked: str | None) -> str | None:
        if self.max_budget_usd is None:
            return asked
        if asked is None or float(asked) > self.max_budget_usd:
            return f"{self.max_budget_usd:.9f}".rstrip("0").rstrip(".")
        return asked


@dataclass(frozen=True)
class Arguments:
    """What the CLI is started with.

    Attributes:
        argv: All arguments after the executable.
        output_format: What the caller asked for: `json`, `stream-json`, or `text`, which is run as `json`.
    """

    argv: tuple[str, ...]
    output_format: str

    @property
    def private(self) -> tuple[str, ...]:
        """The caller's own texts among them, which no error may repeat."""
        prompts = ("--system-prompt", "--append-system-prompt")
        return tuple(value for name, value in pairwise(self.argv) if name in prompts)


def _describe(arg: str) -> str:
    """Name an argument that is not in the table, if it looks like a flag; a value is never shown."""
    if re.fullmatch(r"-[A-Za-z]|--[a-z][A-Za-z-]{0,40}", arg):
        return arg
    return "an argument that is no flag" if not arg.startswith("-") else "a flag"


def _refusal(what: str, problem: str) -> RequestError:
    return RequestError(ErrorCode.ARGUMENT_REFUSED, f"argument refused: {what} {problem}")
