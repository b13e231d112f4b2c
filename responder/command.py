"""The command `claude-responder`: serve, check, health, policy, stub-api."""

import asyncio
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from contract import HealthReply, HealthRequest, Subjects, is_plain_subject
from responder.assembly import argument_policy
from responder.check import findings, findings_table, settings_table
from responder.embedded import EmbeddedServerError
from responder.link import LinkError, ask
from responder.log import LinesHandler
from responder.policy import policy_table
from responder.serve import ServeError, serve
from responder.settings import ENV_PREFIX, ResponderSettings, SettingsError, host_environment, load_settings
from telemetry import TelemetryError, configure, traces_endpoint

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs the Claude CLI for requesters over NATS.",
)
_EXPECTED = (SettingsError, ServeError, LinkError, EmbeddedServerError, TelemetryError)
_ALL = tuple(ResponderSettings.model_fields)
# What the other commands look at: `health --name ID` would ask anyone, and `policy --slots 3` change nothing.
_OF_HEALTH = ("nats_url", "nats_ca", "nats_cert", "nats_key", "subject_prefix", "inbox_prefix")
_OF_POLICY = ("allow", "models", "tools", "max_budget_usd")


def with_settings(command: Callable[..., None], names: Iterable[str] = _ALL) -> Callable[..., None]:
    """Give a command an option for each setting; it is called with the settings and its own options.

    The options are those of `ResponderSettings`, so that each setting is described in one place.

    Args:
        command: Takes the settings, and options of its own.
        names: The settings that matter to it.
    """
    own = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "settings"]
    options = [_option(name) for name in names]

    def run(**given: Any) -> None:
        more = {parameter.name: given.pop(parameter.name) for parameter in own}
        try:
            command(load_settings(given), **more)
        except _EXPECTED as error:
            Console(stderr=True, soft_wrap=True, markup=False).print(
                f"claude-responder: {' '.join(str(error).split())}"
            )
            raise typer.Exit(1) from None

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined] # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
    return run


def _option(name: str) -> inspect.Parameter:
    field = ResponderSettings.model_fields[name]
    variable = "NATS_URL" if name == "nats_url" else f"{ENV_PREFIX}{name.upper()}"
    default = "" if field.default_factory or field.default in (None, ()) else f", default {field.default}"
    flag = f"--{name.replace('_', '-')}"
    kind: Any = bool | None if field.annotation is bool else str | None
    option = typer.Option(flag, help=f"{field.description} ({variable}{default})", show_default=False, metavar="")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _serve(settings: ResponderSettings) -> None:
    """Join the queue group and run the CLI for requests until SIGTERM, which drains."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=settings.log_level.upper(), handlers=[LinesHandler()], format=form)
    host = host_environment()
    flush = configure("claude-responder", environ=host, attributes={"service.instance.id": settings.name})
    try:
        status = asyncio.run(serve(settings, host, tracing=traces_endpoint(host) is not None))
    finally:
        flush()
    raise typer.Exit(status)


def _check(settings: ResponderSettings) -> None:
    """Show the settings, and whether a responder would work with them here; exit status 1 if not."""
    console = Console()
    console.print(settings_table(settings))
    found = asyncio.run(findings(settings, host_environment()))
    console.print(findings_table(found))
    raise typer.Exit(0 if all(finding.is_good for finding in found) else 1)


def _an_id(text: str | None) -> str | None:
    if text is not None and not is_plain_subject(text):
        raise typer.BadParameter("an id is letters, digits, - and _")
    return text


def _health(
    settings: ResponderSettings,
    *,
    of: Annotated[
        str | None, typer.Option(metavar="ID", help="the responder to ask; any one answers without it", callback=_an_id)
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="run a real one-word prompt, which costs tokens")] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="how long to wait (default 10, deep 90)")
    ] = None,
) -> None:
    """Ask a responder over NATS how it is; exit status 1 if it is unhealthy or silent."""
    subjects = Subjects(settings.subject_prefix)
    subject = subjects.health_of(of) if of else subjects.health
    seconds = timeout if timeout is not None else (90.0 if deep else 10.0)
    body = HealthRequest(deep=deep).to_bytes()
    options = {"inbox_prefix": settings.inbox_prefix, "tls": settings.tls_context()}
    try:
        reply = HealthReply.model_validate_json(asyncio.run(ask(settings.servers, subject, body, seconds, **options)))
    except LinkError as error:
        where = settings.shown()["nats_url"]
        raise LinkError(f"{error} (NATS at {where}, --timeout {seconds:g})") from error
    except ValidationError:
        raise LinkError(f"what answered on {subject} is no responder of this protocol") from None
    sys.stdout.write(json.dumps(reply.model_dump(exclude_none=True)) + "\n")
    raise typer.Exit(0 if reply.status == "healthy" else 1)


def _policy(settings: ResponderSettings) -> None:
    """Show which of the CLI's flags a request may use."""
    Console().print(policy_table(argument_policy(settings)))


def _stub_api(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 for any free one")] = 0,
    script: Annotated[
        Path | None,
        typer.Option(help='JSON file that says what to answer: {"rules": [{"text": "hello", "delay_s": 1}]}'),
    ] = None,
) -> None:
    """Run a stub of the Messages API on loopback, to test workers without a credential and without cost."""
    try:
        # aiohttp, which nothing else of the responder needs.
        from responder.stub_api.__main__ import main as run_stub  # noqa: PLC0415
    except ImportError:
        Console(stderr=True, soft_wrap=True, markup=False).print(
            "claude-responder: the stub needs aiohttp: install claude-nats with [responder]"
        )
        raise typer.Exit(1) from None
    raise typer.Exit(run_stub(["--port", str(port), *(["--script", str(script)] if script else [])]))


app.command("serve")(with_settings(_serve))
app.command("check")(with_settings(_check))
app.command("health")(with_settings(_health, _OF_HEALTH))
app.command("policy")(with_settings(_policy, _OF_POLICY))
app.command("stub-api")(_stub_api)


def main() -> None:
    """Run the command."""
    app()
