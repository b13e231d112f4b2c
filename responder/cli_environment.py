"""The CLI's environment, built from nothing: what of the responder's own it may see, and what is set for it.

By allow-list, because the CLI's tools see all of it, and because single variables run code (`BUN_OPTIONS`, `BASH_ENV`),
redirect the API key or change the request (`CLAUDE_CODE_EXTRA_BODY`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from responder.watchdog import RESPONDER_VARIABLE

_FROM_THE_HOST = ("HOME", "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "CLAUDE_CONFIG_DIR")
# How the CLI reaches its provider: the Anthropic API, Bedrock or Vertex.
PROVIDER_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_SMALL_FAST_MODEL_AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_SKIP_VERTEX_AUTH",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
)
# Shorter ones ("1", "on") are no secrets, and stand in every text.
_HEADER_SECRET_MIN_CHARS = 4
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "HEADERS", "PASSWORD")
# Measured on CLI 2.1.197: exports its spans below TRACEPARENT, redacts prompts by default, and a hung collector delays
# its exit by what the last two allow. Never a console exporter: it writes to stdout.
_TRACING = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
    "CLAUDE_CODE_PROPAGATE_TRACEPARENT": "1",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_TRACES_EXPORT_INTERVAL": "500",
    "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": "500",
}
# The flag that says "not sampled" is what matters. Source: W3C Trace Context, 3.2.2.5.
NO_PARENT = f"00-{'1' * 32}-{'1' * 16}-00"
_TRACING_FROM_THE_HOST = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
)


@dataclass(frozen=True)
class CLIEnvironment:
    """Builds the environment of each run.

    Attributes:
        host: The responder's own environment.
        extra_names: Further variables of it that the operator lets through.
        max_retries: How often the CLI itself repeats a failed API call; each holds the slot.
        tracing: Whether the CLI exports its spans, to the responder's own OTLP endpoint.
        responder_mark: By what the watchdog knows this responder's processes.
    """

    host: Mapping[str, str] = field(repr=False)
    extra_names: Sequence[str] = ()
    max_retries: int = 1
    tracing: bool = False
    responder_mark: str = ""

    def build(self, trace_headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give one run's environment.

        Args:
            trace_headers: The W3C context of the span the CLI's own become children of.
        """
        names = (*_FROM_THE_HOST, *PROVIDER_VARIABLES, *self.extra_names)
        environment = {name: self.host[name] for name in names if name in self.host}
        environment |= {
            RESPONDER_VARIABLE: self.responder_mark,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # Background tasks outlive or hang the turn.
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
            # `@/etc/passwd` in a prompt would put that file into the API request (also under `--tools ""`). The rule
            # `--disallowedTools Read(//**)` stops that too, but then no file of the working directory can be read.
            "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
            # Left to itself the CLI holds the slot for three minutes on a 401, 429 or 500 (measured: 184-191 s).
            "CLAUDE_CODE_MAX_RETRIES": str(self.max_retries),
        }
        if self.tracing and trace_headers:
            environment |= _TRACING
            environment |= {name: self.host[name] for name in _TRACING_FROM_THE_HOST if name in self.host}
            environment |= {name.upper(): value for name, value in trace_headers.items()}
        return environment

    def build_ahead(self) -> dict[str, str]:
        """Give the environment of a process that has no request yet: its spans have a parent that is not sampled."""
        return self.build({"traceparent": NO_PARENT})

    def secrets(self) -> frozenset[str]:
        """Give the values that must never be seen: those of variables whose name says so, and each header's in them."""
        names = {*self.build(), *_TRACING_FROM_THE_HOST}
        values = {
            name: self.host[name]
            for name in names
            if any(word in name for word in _SECRET_WORDS) and self.host.get(name)
        }
        headers = (part for name, value in values.items() if "HEADERS" in name for part in _header_values(name, value))
        return frozenset((*values.values(), *headers))


def _header_values(name: str, headers: str) -> Iterator[str]:
    """Give the values in a variable of headers, as they stand there, decoded, and without the scheme's name.

    Source: OpenTelemetry's are `a=b,c=d`, percent-encoded (opentelemetry.io/docs/specs/otel/protocol/exporter); the
    CLI's `ANTHROPIC_CUSTOM_HEADERS` has a line `a: b` for each.
    """
    separator, equals = (",", "=") if name.startswith("OTEL_") else ("\n", ":")
    for header in headers.split(separator):
        value = header.partition(equals)[2].strip()
        for part in (value, unquote(value), unquote(value).rpartition(" ")[2]):
            if len(part) >= _HEADER_SECRET_MIN_CHARS:
                yield part
