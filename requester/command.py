"""The command `claude-requester`: execute, submit, result, tickets; what is asked for on stdout, all else on stderr."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from contract import Failover
from requester import exit_codes
from requester.errors import RequesterError, one_line
from requester.output import streaming_args
from requester.reply import Reply
from requester.requester import Requester
from requester.settings import RequesterSettings, SettingsError, environment
from requester.tracing import Tracing
from telemetry import TelemetryError, configure

T = TypeVar("T")
NAME = "claude-requester"
EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:>5}  {text}" for code, text in exit_codes.MEANINGS.items())


# `ticket` is nearly `tickets`; a prompt of one word is seldom nearly a command.
_ALMOST = 0.8


class _ExecuteByDefault(TyperGroup):
    """A group whose first word may be left out: `claude-requester "2+2?"` is `claude-requester execute "2+2?"`.

    A subclass because typer asks for one.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        if args and args[0] not in known and (meant := get_close_matches(args[0], self.commands, 1, _ALMOST)):
            # As a prompt it would cost money.
            ctx.fail(f"no such command: {args[0]}; did you mean {meant[0]}? To ask just that: execute {args[0]}")
        return super().parse_args(ctx, args if args and args[0] in known else ["execute", *args])


app = typer.Typer(
    name=NAME,
    cls=_ExecuteByDefault,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EPILOG,
    help="Asks the Claude CLI, wherever a responder runs it. A prompt alone is executed: execute PROMPT.",
)

Prompt = Annotated[str | None, typer.Argument(help="What to ask; - or nothing reads it from stdin.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the CLI printed, not only its answer.")]
Cwd = Annotated[str | None, typer.Option(help="Working directory inside the responder's roots.")]
Arg = Annotated[
    list[str] | None,
    typer.Option(metavar="ARG", help="One of the CLI's flags or values: --arg=--model --arg=opus."),
]
NatsUrl = Annotated[str | None, typer.Option(help="NATS servers; $NATS_URL keeps a password out of ps.")]
Prefix = Annotated[str | None, typer.Option("--subject-prefix", help="What the fleet's subjects begin with.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Say who answered, how long it took and its cost.")]


@app.command(epilog=EPILOG)
def execute(  # noqa: PLR0913 # one parameter for each option
    prompt: Prompt = None,
    *,
    json: Json = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after this time.")] = None,
    cwd: Cwd = None,
    arg: Arg = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Join the run with this key, or get its result, if there is one.")
    ] = None,
    failover: Annotated[
        Failover,
        typer.Option(
            help="When its responder is lost after it has started: unstarted (fail), or always (run it again)."
        ),
    ] = Failover.UNSTARTED,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Print what the CLI prints as it prints it; stream-json unless --arg differs."),
    ] = False,
    priority: Annotated[
        str, typer.Option(metavar="CLASS", help="interactive, or batch, which waits behind it.")
    ] = "interactive",
    nats_url: NatsUrl = None,
    subject_prefix: Prefix = None,
    verbose: Verbose = False,
) -> None:
    """Ask, and wait for the answer."""
    with _failures():
        settings = _settings(nats_url, subject_prefix)
        options: dict[str, Any] = {
            "timeout": timeout,
            "args": streaming_args(arg) if stream else arg or None,
            "cwd": cwd,
            "idempotency_key": idempotency_key,
            "failover": failover,
            "on_output": _write if stream else None,
            "priority": priority,
        }
        question = _read_prompt(prompt)
        reply = _ask(settings, lambda requester: requester.execute(question, **options), is_quiet=stream)
    _show(reply, json=json, verbose=verbose, is_printed=stream)


@app.command()
def submit(  # noqa: PLR0913 # one parameter for each option
    prompt: Prompt = None,
    *,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long the run may take.")] = None,
    cwd: Cwd = None,
    arg: Arg = None,
    failover: Annotated[
        Failover, typer.Option(help="Once its responder was lost: unstarted (a failure if it had started), or always.")
    ] = Failover.UNSTARTED,
    ticket: Annotated[str | None, typer.Option(help="Name it yourself; the same one again is harmless.")] = None,
    nats_url: NatsUrl = None,
    subject_prefix: Prefix = None,
) -> None:
    """Have it done whatever fails in between, and print a ticket for `result`."""
    with _failures():
        settings = _settings(nats_url, subject_prefix)
        options: dict[str, Any] = {"timeout": timeout, "args": arg or None, "cwd": cwd, "failover": failover}
        question = _read_prompt(prompt)
        _print(_ask(settings, lambda requester: requester.submit(question, ticket=ticket, **options)))


@app.command()
def result(  # noqa: PLR0913 # one parameter for each option
    ticket: Annotated[str, typer.Argument(help="What `submit` has printed.")],
    *,
    json: Json = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after this time.")] = None,
    nats_url: NatsUrl = None,
    subject_prefix: Prefix = None,
    verbose: Verbose = False,
) -> None:
    """Wait for the result of submitted work."""
    with _failures():
        settings = _settings(nats_url, subject_prefix)
        reply = _ask(settings, lambda requester: requester.result(ticket, timeout=timeout))
    _show(reply, json=json, verbose=verbose)


@app.command()
def tickets(*, nats_url: NatsUrl = None, subject_prefix: Prefix = None) -> None:
    """List submitted work: ticket, state, when it was submitted, how many seconds ago."""
    with _failures():
        listed = _ask(_settings(nats_url, subject_prefix), lambda requester: requester.tickets())
    for one in listed:
        _print(f"{one.ticket}\t{one.state}\t{one.submitted_at.isoformat(timespec='seconds')}\t{one.age_s:.0f}")


def _settings(nats_url: str | None, subject_prefix: str | None) -> RequesterSettings:
    overrides = {"nats_url": nats_url, "subject_prefix": subject_prefix}
    return RequesterSettings(**{name: value for name, value in overrides.items() if value is not None})


def _ask(settings: RequesterSettings, question: Callable[[Requester], Awaitable[T]], *, is_quiet: bool = False) -> T:
    async def ask() -> T:
        with Tracing().command(NAME):
            async with Requester(settings) as requester:
                return await question(requester)

    # A spinner would stand in the middle of what is printed meanwhile.
    with _telemetry(), contextlib.nullcontext() if is_quiet else _spinner():
        return asyncio.run(ask())


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code."""
    try:
        yield
    except (SettingsError, TelemetryError) as error:
        raise _failed(str(error), exit_codes.USAGE) from None
    except RequesterError as error:
        raise _failed(f"{error} [{error.code}]", exit_codes.exit_code(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(exit_codes.INTERRUPTED) from None


def _show(reply: Reply, *, json: bool, verbose: bool, is_printed: bool = False) -> None:
    if not is_printed:
        _print(reply.raw if json else reply.text)
    elif not reply.raw.endswith("\n"):
        _write("\n")
    if verbose:
        sys.stderr.write(f"{_summary(reply)}\n")


def _read_prompt(argument: str | None) -> str:
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise _failed("no prompt: give one, or pipe one in", exit_codes.USAGE)
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise _failed("the prompt on stdin is not UTF-8", exit_codes.USAGE) from None


@contextlib.contextmanager
def _spinner() -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task("waiting for the answer", total=None)
        yield


@contextlib.contextmanager
def _telemetry() -> Iterator[None]:
    # Only a program exports: the library is silent unless its host has set up OpenTelemetry.
    flush = configure(NAME, environ=environment())
    try:
        yield
    finally:
        flush()


def _print(answer: str) -> None:
    _write(answer if answer.endswith("\n") else f"{answer}\n")


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode(errors="replace"))
    sys.stdout.buffer.flush()


def _summary(reply: Reply) -> str:
    cost = "an unknown cost" if reply.cost_usd is None else f"${reply.cost_usd:.4f}"
    return f"{NAME}: answered by {reply.responder} in {reply.duration_s:.1f} s for {cost}"


def _failed(message: str, code: int) -> typer.Exit:
    sys.stderr.write(f"{NAME}: {one_line(message)}\n")
    return typer.Exit(code)
