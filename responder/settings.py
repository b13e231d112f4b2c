"""The responder's settings: the one place that reads the environment.

Every setting is an option of `claude-responder serve` and a variable `CLAUDE_RESPONDER_*`; the option wins. NATS's
address is `NATS_URL`.
"""

import difflib
import json
import os
import shutil
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connection import check_certificates, check_key, tls_context
from contract import (
    DEFAULT_INBOX_PREFIX,
    DEFAULT_SUBJECT_PREFIX,
    PROMPT_MAX_BYTES,
    RequestError,
    check_servers,
    is_plain_subject,
    mask_servers,
    split_servers,
)
from responder.arguments import DEFAULT_ARGS, OPT_INS, ArgumentPolicy
from responder.child import OUTPUT_MAX_BYTES

ENV_PREFIX = "CLAUDE_RESPONDER_"
_NATS_URL = "NATS_URL"
_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line and says which and what to do."""


Names = Annotated[tuple[str, ...], NoDecode]


class ResponderSettings(BaseSettings):
    """What one responder is started with."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        validation_alias=AliasChoices("nats_url", _NATS_URL),
        repr=False,
        description="NATS servers, comma-separated; user-info is masked wherever it is shown",
    )
    nats_ca: Path | None = Field(None, description="PEM file of the authorities to trust for TLS to NATS")
    nats_cert: Path | None = Field(None, description="PEM file of the certificate to show to NATS")
    nats_key: Path | None = Field(
        None, validate_default=True, description="PEM file of its private key, if --nats-cert does not hold it"
    )
    name: str = Field(
        default_factory=lambda: f"{_host_name()}-{os.getpid()}",
        pattern=_NAME_PATTERN,
        description="id of this responder, unique in the fleet (default: host and process id)",
    )
    cli: Path | None = Field(None, description="the claude executable (default: claude on PATH)")
    slots: int = Field(5, ge=1, le=1000, description="how many CLIs run at a time")
    backlog_max: int = Field(100, ge=0, le=100_000, description="how many requests may wait for a slot")
    batch_max_wait_s: float = Field(
        30.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds after which a waiting batch request counts as interactive",
    )
    subject_prefix: str = Field(DEFAULT_SUBJECT_PREFIX, description="what the fleet's subjects begin with")
    inbox_prefix: str = Field(DEFAULT_INBOX_PREFIX, description="what a reply subject must begin with")
    prompt_max_bytes: int = Field(PROMPT_MAX_BYTES, ge=1, le=PROMPT_MAX_BYTES, description="the largest prompt")
    output_max_bytes: int = Field(OUTPUT_MAX_BYTES, ge=1024, description="the most a run may print")
    timeout_max_s: float = Field(
        3600.0,
        ge=60,
        le=86_400,
        allow_inf_nan=False,
        description="the longest timeout a request may ask for, in seconds",
    )
    drain_grace_s: float = Field(
        120.0, ge=0, allow_inf_nan=False, description="how long accepted requests may go on after SIGTERM"
    )
    stop_step_s: float = Field(2.0, ge=0, le=60, description="seconds between SIGINT, SIGTERM and SIGKILL to a run")
    steal: bool = Field(default=True, description="whether a free slot takes what waits at another responder")
    standby_max: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="how many CLIs may be started ahead of their requests (default: three for each slot; 0: none)",
    )
    standby_memory_mb: int = Field(
        2048, ge=0, le=1_000_000, description="how much memory these may have in all, in MiB of resident size"
    )
    standby_age_max_s: float = Field(
        600.0, ge=1, le=86_400, allow_inf_nan=False, description="after how long one that waits is replaced, in seconds"
    )
    standby_args: Annotated[tuple[tuple[str, ...], ...], NoDecode] = Field(
        (DEFAULT_ARGS,),
        description="argument lists for which one is always kept, as JSON: an array of arrays of strings",
    )
    reuse_max: int = Field(
        0,
        ge=0,
        le=10_000,
        description="how many requests of one caller that asks for it a CLI may serve, cleared in between (0: one)",
    )
    reuse_age_max_s: float = Field(
        600.0, ge=1, le=86_400, allow_inf_nan=False, description="up to which age such a one serves, in seconds"
    )
    reuse_memory_mb: int = Field(
        500, ge=1, le=1_000_000, description="up to which resident size such a one serves, in MiB"
    )
    unattended_max_s: float = Field(
        30.0,
        ge=5,
        le=86_400,
        allow_inf_nan=False,
        description="how long an attended run goes on while nothing is heard of its requester",
    )
    cwd_roots: Names = Field((), description="directories in which a request may name its cwd, comma-separated")
    scratch: Path | None = Field(None, description="where fresh working directories are made (default: TMPDIR)")
    allow: Names = Field((), description="flags and modes a request may use only if they are named here")
    models: Names = Field((), description="the models a request may name (default: any)")
    tools: Names = Field((), description="the tools a request may name in --tools (default: any)")
    max_budget_usd: float | None = Field(
        None,
        ge=0.000001,
        le=1_000_000,
        allow_inf_nan=False,
        description="the most one run may cost (default: no bound)",
    )
    cli_max_retries: int = Field(1, ge=0, le=10, description="how often the CLI repeats a failed API call itself")
    cli_env: Names = Field((), description="further variables of the responder's environment that the CLI gets")
    embedded: bool = Field(default=False, description="start a nats-server of its own, on NATS_URL's loopback port")
    jetstream: Literal["auto", "off", "required"] = Field(
        "auto",
        description="where results for idempotency keys are kept: in JetStream if the server has it, or in memory;"
        " required: not without it",
    )
    keep_results_s: float = Field(
        604_800.0,
        ge=1,
        le=31_536_000,
        allow_inf_nan=False,
        description="how long JetStream keeps results and durable work, in seconds",
    )
    durable: bool = Field(default=True, description="take durable work when there is a free slot, where JetStream is")
    replicas: int = Field(1, ge=1, le=5, description="how many servers of a NATS cluster keep these")
    embedded_store: Path | None = Field(
        None, description="directory in which this nats-server keeps results and durable work (default: it keeps none)"
    )
    log_level: str = Field("info", pattern=r"^(debug|info|warning|error)$", description="what is logged on stderr")

    @field_validator("nats_url")
    @classmethod
    def _check_servers(cls, urls: str) -> str:
        return check_servers(urls)

    @field_validator("nats_ca", "nats_cert")
    @classmethod
    def _check_certificates(cls, path: Path | None) -> Path | None:
        return check_certificates(path)

    @field_validator("nats_key")
    @classmethod
    def _check_key(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return check_key(path, info.data.get("nats_cert"))

    @field_validator("cwd_roots", "allow", "models", "tools", "cli_env", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("standby_args", mode="before")
    @classmethod
    def _read_lists(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("must be JSON: an array of arrays of strings") from None

    @field_validator("allow")
    @classmethod
    def _known_opt_ins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OPT_INS:
                raise ValueError(f"{name!r} cannot be allowed{_did_you_mean(name, OPT_INS)}")
        return value

    @field_validator("cwd_roots")
    @classmethod
    def _usable_roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for root in value:
            if not Path(root).is_absolute() or not Path(root).is_dir():
                raise ValueError(f"{root!r} is not the absolute path of a directory")
        return value

    @field_validator("scratch")
    @classmethod
    def _usable_scratch(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(f"{value}/.", os.W_OK | os.X_OK, effective_ids=True):
            raise ValueError(f"{str(value)!r} is not a directory in which this user can make others")
        return value

    @field_validator("embedded_store")
    @classmethod
    def _quotable(cls, value: Path | None) -> Path | None:
        if value is not None and (
            not value.is_absolute() or not str(value).isprintable() or {'"', "\\"} & set(str(value))
        ):
            raise ValueError("must be an absolute path without quotes and backslashes")
        return value

    @field_validator("subject_prefix", "inbox_prefix")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not is_plain_subject(value):
            raise ValueError("must be letters, digits, - and _ in tokens joined by dots")
        return value

    @model_validator(mode="after")
    def _embedded_is_local(self) -> Self:
        if self.embedded and not _is_loopback(self.nats_url):
            raise ValueError("embedded: the server listens on loopback only, so NATS_URL must be one loopback address")
        if self.embedded_store is not None and not self.embedded:
            raise ValueError(
                "embedded_store: is for --embedded only; elsewhere the server's operator turns JetStream on"
            )
        if self.embedded and (self.nats_ca or self.nats_cert or self.nats_url.startswith("tls:")):
            raise ValueError("embedded: the server speaks no TLS, so there must be neither tls:// nor a certificate")
        return self

    @model_validator(mode="after")
    def _standby_args_are_allowed(self) -> Self:
        policy = ArgumentPolicy(frozenset(self.allow), self.models, self.tools, self.max_budget_usd)
        for args in self.standby_args:
            try:
                policy.arguments(args)
            except RequestError as error:
                raise ValueError(f"standby_args: {error}") from None
        return self

    @model_validator(mode="after")
    def _reuse_needs_standby(self) -> Self:
        if self.reuse_max and self.standby_max == 0:
            raise ValueError("reuse_max: what is reused was started ahead, so standby_max must not be 0")
        return self

    @property
    def servers(self) -> list[str]:
        """NATS servers to connect to; may hold credentials."""
        return split_servers(self.nats_url)

    def tls_context(self) -> ssl.SSLContext | None:
        """Give what TLS to NATS with the certificates needs; None where the system's authorities are trusted."""
        return tls_context(self.nats_ca, self.nats_cert, self.nats_key)

    def cli_path(self) -> Path | None:
        """Give the executable to run: the one named, else `claude` on PATH; None when there is none."""
        if self.cli is not None:
            return self.cli.absolute()
        found = shutil.which("claude")
        return Path(found) if found else None

    def shown(self) -> dict[str, str]:
        """Give every setting as text for people, secrets masked."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values["nats_url"] = mask_servers(self.nats_url)
        values["cli"] = self.cli_path() or "(not found)"
        return {name: _text(value) for name, value in values.items()}


def host_environment() -> dict[str, str]:
    """Give this process's environment, of which the CLI gets a part."""
    return dict(os.environ)


def load_settings(options: Mapping[str, Any]) -> ResponderSettings:
    """Read the settings.

    Args:
        options: Those given on the command line; None means not given.

    Raises:
        SettingsError: One of them is unknown or unusable.
    """
    with_prefix = f"{ENV_PREFIX}{_NATS_URL}"
    known = {f"{ENV_PREFIX}{name.upper()}" for name in ResponderSettings.model_fields}
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known - {with_prefix}:
            hint = _did_you_mean(name.upper(), known).replace(with_prefix, _NATS_URL)
            raise SettingsError(f"unknown setting {name}{hint}")
    try:
        return ResponderSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in problem["loc"][:1]) or "settings"
        raise SettingsError(f"{name}: {problem['msg'].removeprefix('Value error, ')}") from None


def _is_loopback(urls: str) -> bool:
    url = urls if "://" in urls else f"nats://{urls}"
    return "," not in urls and urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def _host_name() -> str:
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in socket.gethostname())
    return plain[:40] or "responder"


def _did_you_mean(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f" (known: {', '.join(sorted(known))})"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
