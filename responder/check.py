"""`claude-responder check`: would a responder with these settings work here?"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from contract import mask_servers
from responder.assembly import assemble
from responder.link import LinkError, ping
from responder.serve import ServeError, prepare_host
from responder.settings import ResponderSettings

_NATS_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was looked at.
        is_good: Whether a responder can work with it.
        text: What was found.
    """

    name: str
    is_good: bool
    text: str


async def findings(settings: ResponderSettings, host: Mapping[str, str]) -> list[Finding]:
    """Look at the host, the CLI and NATS; nothing is spent and nothing is left."""
    found = [_host()]
    if found[0].is_good:
        found += await _cli(settings, host)
    return [*found, await _nats(settings)]


def settings_table(settings: ResponderSettings) -> Table:
    """Show the effective settings, secrets masked."""
    table = Table(title="Settings", title_justify="left")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    for name, value in settings.shown().items():
        table.add_row(name, value)
    return table


def findings_table(found: list[Finding]) -> Table:
    """Show what was found."""
    table = Table(title="Checks", title_justify="left")
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for finding in found:
        table.add_row(finding.name, "ok" if finding.is_good else "FAILED", finding.text)
    return table


def _host() -> Finding:
    try:
        prepare_host()
    except ServeError as error:
        return Finding("host", is_good=False, text=str(error))
    return Finding("host", is_good=True, text="child subreaper, /proc lists children")


async def _cli(settings: ResponderSettings, host: Mapping[str, str]) -> list[Finding]:
    probe = assemble(settings, host, tracing=False).probe
    version, is_logged_in = await asyncio.gather(probe.version(), probe.is_logged_in())
    if version is None:
        hint = "not found or does not run: npm install -g @anthropic-ai/claude-code, or name it with --cli"
        return [Finding("CLI", is_good=False, text=hint)]
    hint = "a credential is set" if is_logged_in else "not logged in: set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"
    return [
        Finding("CLI", is_good=True, text=f"{settings.cli_path()} {version}"),
        Finding("login", is_good=is_logged_in, text=hint),
    ]


async def _nats(settings: ResponderSettings) -> Finding:
    where = mask_servers(settings.nats_url)
    if settings.embedded:
        return Finding("NATS", is_good=True, text=f"{where} will be started by this responder")
    try:
        version = await ping(settings.servers, _NATS_TIMEOUT_S, settings.tls_context())
    except LinkError as error:
        return Finding("NATS", is_good=False, text=f"{where}: {error}")
    return Finding("NATS", is_good=True, text=f"{where}: nats-server {version}")
