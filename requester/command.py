"""The command `claude-requester`: a prompt in, the answer on stdout, everything else on stderr."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from requester import exit_codes
from requester.errors import RequesterError, one_line
from requester.reply import Reply
from requester.requester import Requester
from requester.settings import RequesterSettings, SettingsError, environment
from requester.tracing import Tracing
from telemetry import TelemetryError, configure

NAME = "claude-requester"
EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:>5}  {text}" for code, text in exit_codes.MEANINGS.items())

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(name=NAME, epilog=EPILOG)
def ask(  # noqa: PLR0913 # one parameter for each option
    prompt: Annotated[str | None, typer.Argument(help="What to ask; - or nothing reads it from stdin.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print what the CLI printed, not only its answer.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after this time.")] = None,
    cwd: Annotated[str | None, typer.Option(help="Working directory inside the responder's roots.")] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="ARG", help="One of the CLI's flags or values: --arg=--model --arg=opus."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Join the run with this key, or get its result, if there is one.")
    ] = None,
    priority: Annotated[
        str, typer.Option(metavar="CLASS", help="interactive, or batch, which waits behind it.")
    ] = "interactive",
    nats_url: Annotated[str | None, typer.Option(help="NATS servers; $NATS_URL keeps a password out of ps.")] = None,
    subject_prefix: Annotated[str | None, typer.Option(help="What the fleet's subjects begin with.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say who answered, how long it took and its cost.")
    ] = False,
) -> None:
    """Ask the Claude CLI, wherever a responder runs it."""
    overrides = {"nats_url": nats_url, "subject_prefix": subject_prefix}
    try:
        settings = RequesterSettings(**{name: value for name, value in overrides.items() if value is not None})
        question = _read_prompt(prompt)
        with _telemetry(), _spinner():
            options = {"timeout": timeout, "args": arg or None, "cwd": cwd, "idempotency_key": idempotency_key}
            options["priority"] = priority
            reply = asyncio.run(_execute(settings, question, **options))
    except (SettingsError, TelemetryError) as error:
        raise _failed(str(error), exit_codes.USAGE) from None
    except RequesterError as error:
        raise _failed(f"{error} [{error.code}]", exit_codes.exit_code(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    _print(reply.raw if json else reply.text)
    if verbose:
        sys.stderr.write(f"{_summary(reply)}\n")


async def _execute(settings: RequesterSettings, prompt: str, **options: Any) -> Reply:
    with Tracing().command(NAME):
        async with Requester(settings) as requester:
            return await requester.execute(prompt, **options)


def _read_prompt(argument: str | None) -> str:
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise _failed("no prompt: give one, or pipe one in", exit_codes.USAGE)
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise _failed("the prompt on stdin is not UTF-8", exit_codes.USAGE) from None


@contextmanager
def _spinner() -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task("waiting for the answer", total=None)
        yield


@contextmanager
def _telemetry() -> Iterator[None]:
    # Only a program exports: the library is silent unless its host has set up OpenTelemetry.
    flush = configure(NAME, environ=environment())
    try:
        yield
    finally:
        flush()


def _print(answer: str) -> None:
    sys.stdout.buffer.write(answer.encode(errors="replace"))
    if not answer.endswith("\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _summary(reply: Reply) -> str:
    cost = "an unknown cost" if reply.cost_usd is None else f"${reply.cost_usd:.4f}"
    return f"{NAME}: answered by {reply.responder} in {reply.duration_s:.1f} s for {cost}"


def _failed(message: str, code: int) -> typer.Exit:
    sys.stderr.write(f"{NAME}: {one_line(message)}\n")
    return typer.Exit(code)
