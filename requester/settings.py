"""The requester's settings: the one place that reads the environment."""

import difflib
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connection import check_certificates, check_key, tls_context
from contract import (
    DEFAULT_INBOX_PREFIX,
    DEFAULT_SUBJECT_PREFIX,
    DEFAULT_TIMEOUT_MS,
    check_servers,
    is_plain_subject,
    mask_servers,
    split_servers,
)

ENV_PREFIX = "CLAUDE_REQUESTER_"
NATS_URL = "NATS_URL"
# Longer than any responder waits by default (an hour); what is beyond a day is a mistake in the unit.
TIMEOUT_MAX_S = 86_400.0
TIMEOUT_MIN_S = 0.001

Seconds = Annotated[float, Field(gt=0, le=TIMEOUT_MAX_S, allow_inf_nan=False)]


class SettingsError(ValueError):
    """A setting that cannot be used; one line that names it and never shows a secret."""


class RequesterSettings(BaseSettings):
    """How to reach the responders, and how long to wait for them.

    Each field is read from `CLAUDE_REQUESTER_` and its name in capitals, `nats_url` from `NATS_URL`; a keyword argument
    wins over the environment.

    Attributes:
        nats_url: The NATS servers, `nats://[user:password@]host[:port]`, or `tls://`; several are joined by commas.
        timeout_s: Seconds a request may take when the caller does not say.
        subject_prefix: What the fleet's subjects begin with.
        inbox_prefix: What reply subjects begin with; one that only requesters may listen on keeps answers apart.
        connect_timeout_s: Seconds after which an attempt stops waiting for a connection (and counts as failed).
        reply_grace_s: Seconds after the deadline in which the responder may still report what happened: it says
            `timeout` once every process of the run is gone.
        accept_timeout_s: Seconds in which a responder must accept a request, or another is asked; it doubles for each
            attempt that nobody has accepted, up to 4 s.
        reply_max_bytes: The largest reply that is taken.
        backoff_first_s: Upper bound of the first pause between attempts, in seconds; it doubles from there.
        backoff_max_s: Upper bound of every pause between attempts, in seconds.
        retry_tokens: The retry budget: a refused attempt takes a token, a success gives a tenth of one back, and with
            half of them gone each pause that no responder has named is longer by `backoff_max_s`; 0 turns it off.
        breaker: Whether requests are refused for a while when most have failed (see `requester.breaker`).
        breaker_error_ratio: The share of failed requests that opens the circuit.
        breaker_min_requests: How many requests there must be within `breaker_window_s` before any share counts.
        breaker_window_s: Seconds after which a request counts no more.
        breaker_open_s: Seconds until one request is let through to try.
        nats_ca: PEM file of the authorities whose server certificates are trusted, instead of the system's.
        nats_cert: PEM file of the certificate that is shown to a server which asks for one.
        nats_key: PEM file of its private key; None if `nats_cert` holds it.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    nats_url: str = Field(default="nats://127.0.0.1:4222", validation_alias=NATS_URL)
    timeout_s: Annotated[float, Field(ge=TIMEOUT_MIN_S, le=TIMEOUT_MAX_S, allow_inf_nan=False)] = (
        DEFAULT_TIMEOUT_MS / 1000
    )
    subject_prefix: str = DEFAULT_SUBJECT_PREFIX
    inbox_prefix: str = DEFAULT_INBOX_PREFIX
    connect_timeout_s: Seconds = 5.0
    reply_grace_s: Annotated[float, Field(ge=0, le=TIMEOUT_MAX_S, allow_inf_nan=False)] = 5.0
    accept_timeout_s: Seconds = 0.5
    reply_max_bytes: Annotated[int, Field(ge=1024)] = 128 * 1024 * 1024
    backoff_first_s: Seconds = 0.1
    backoff_max_s: Seconds = 2.0
    retry_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    breaker: bool = True
    breaker_error_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    breaker_min_requests: Annotated[int, Field(ge=1)] = 10
    breaker_window_s: Seconds = 60.0
    breaker_open_s: Seconds = 30.0
    nats_ca: Path | None = None
    nats_cert: Path | None = None
    nats_key: Annotated[Path | None, Field(validate_default=True)] = None

    def __init__(self, **values: Any) -> None:
        """Read the environment.

        Raises:
            SettingsError: A name is unknown or a value cannot be used.
        """
        _refuse_unknown_names(environment())
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    @field_validator("nats_url")
    @classmethod
    def _check_servers(cls, url: str) -> str:
        return check_servers(url)

    @field_validator("nats_ca", "nats_cert")
    @classmethod
    def _check_certificates(cls, path: Path | None) -> Path | None:
        return check_certificates(path)

    @field_validator("nats_key")
    @classmethod
    def _check_key(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return check_key(path, info.data.get("nats_cert"))

    @field_validator("subject_prefix", "inbox_prefix")
    @classmethod
    def _check_subject(cls, prefix: str) -> str:
        if not is_plain_subject(prefix):
            raise ValueError("is not letters, digits, - and _ in tokens joined by dots")
        return prefix

    @property
    def servers(self) -> list[str]:
        """The servers one by one, user-info included: for the connection only."""
        return split_servers(self.nats_url)

    @property
    def masked_url(self) -> str:
        """The servers as they may be shown: without user-info."""
        return mask_servers(self.nats_url)

    def tls_context(self) -> ssl.SSLContext | None:
        """Give what TLS with the certificates needs; None where the system's authorities are trusted.

        Raises:
            OSError: A file has become unusable.
        """
        return tls_context(self.nats_ca, self.nats_cert, self.nats_key)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self.masked_url if name == "nats_url" else value


def environment() -> Mapping[str, str]:
    """Give the process's environment."""
    return os.environ


def _env_names() -> dict[str, str]:
    names = {field: f"{ENV_PREFIX}{field.upper()}" for field in RequesterSettings.model_fields}
    return names | {"nats_url": NATS_URL}


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = list(_env_names().values())
    for name in sorted(environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known:
            own = {env_name.removeprefix(ENV_PREFIX): env_name for env_name in known}
            near = difflib.get_close_matches(name.upper().removeprefix(ENV_PREFIX), own, n=1)
            hint = f"did you mean {own[near[0]]}?" if near else f"known: {', '.join(known)}"
            raise SettingsError(f"unknown setting {name} in the environment ({hint})")


def _explain(error: ValidationError) -> str:
    names = _env_names()
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in problem["loc"])
        name = names.get(field, field)
        problems.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    return f"settings refused: {'; '.join(problems)}"
