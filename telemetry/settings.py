"""What the OTEL_* variables ask for. Reads the given mapping, does no I/O and needs no SDK.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "claude-nats"

_TRACES_PATH = "/v1/traces"
_PROTOCOL = "http/protobuf"


class TelemetryError(Exception):
    """The OTEL_* variables ask for something that cannot be had; the message is one line that says what to change."""


def traces_endpoint(environ: Mapping[str, str]) -> str | None:
    """Give the URL that traces are to be sent to.

    Args:
        environ: The program's environment. An empty variable is the same as none.

    Returns:
        The full URL, `/v1/traces` included; None when no endpoint is set or traces are switched off by
        OTEL_SDK_DISABLED=true or OTEL_TRACES_EXPORTER=none.
    """
    if _lower(environ, "OTEL_SDK_DISABLED") == "true" or _lower(environ, "OTEL_TRACES_EXPORTER") == "none":
        return None
    if own := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip():
        return own
    if shared := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip():
        return shared.rstrip("/") + _TRACES_PATH
    return None


def check_settings(environ: Mapping[str, str], endpoint: str) -> None:
    """Refuse what this package does not export.

    Args:
        environ: The program's environment.
        endpoint: What `traces_endpoint` gave.

    Raises:
        TelemetryError: The exporter or the protocol is another one, or the endpoint is no URL.
    """
    exporter = _lower(environ, "OTEL_TRACES_EXPORTER")
    if exporter not in {"", "otlp"}:
        raise TelemetryError(f"OTEL_TRACES_EXPORTER={exporter} is not supported; use otlp or none")
    own, shared = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    name = own if _lower(environ, own) else shared
    if (protocol := _lower(environ, name)) not in {"", _PROTOCOL}:
        raise TelemetryError(f"{name}={protocol} is not supported; use {_PROTOCOL} (collectors take it on port 4318)")
    if not _is_http_url(endpoint):
        raise TelemetryError("the OTLP endpoint is not a URL; write it like http://127.0.0.1:4318")


def resource_attributes(environ: Mapping[str, str], service_name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Give the attributes that every span of this process carries; the operator's variables win.

    Args:
        environ: The program's environment.
        service_name: The program's name, for when the operator gives none.
        given: What the program knows about itself.

    Returns:
        `service.name`, `service.version` where the distribution is installed, `given` and OTEL_RESOURCE_ATTRIBUTES.
    """
    asked = dict(_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        asked["service.name"] = name
    return {"service.name": service_name, **_service_version(), **given, **asked}


def _service_version() -> dict[str, str]:
    try:
        return {"service.version": version(DISTRIBUTION)}
    except PackageNotFoundError:  # run from a checkout that is not installed
        return {}


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in text.split(",")]
    return [(name.strip(), unquote(value.strip())) for name, equals, value in pairs if equals and name.strip()]


def _lower(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip().lower()


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
