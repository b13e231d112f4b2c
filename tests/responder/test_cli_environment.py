"""The CLI's environment: what passes, what is set, and what never passes."""

import pytest

from responder.cli_environment import PROVIDER_VARIABLES, CLIEnvironment

CANARY = "canary-5f1c9"
PLAIN = ("HOME", "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "CLAUDE_CONFIG_DIR")
FORCED = {
    "CLAUDE_NATS_RESPONDER": "",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",
}
TRACING = {
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
COLLECTOR = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
)
# Each runs code, redirects the key, alters the request, or is the responder's own business.
NEVER = (
    "BUN_OPTIONS",
    "NODE_OPTIONS",
    "BASH_ENV",
    "ENV",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "SHELL",
    "PWD",
    "USER",
    "PYTHONPATH",
    "CLAUDE_CODE_SHELL_PREFIX",
    "CLAUDE_CODE_EXTRA_BODY",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_ENABLE_TELEMETRY",
    "CLAUDECODE",
    "CLAUDE_NATS_RUN",
    "CLAUDE_RESPONDER_NAME",
    "CLAUDE_RESPONDER_ALLOW",
    "NATS_URL",
    "NATS_CREDS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "home",
    "Path",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_LOG_USER_PROMPTS",
    "OTEL_EXPORTER_CONSOLE",
    "TRACEPARENT",
    "TRACESTATE",
    "BAGGAGE",
    "IS_SANDBOX",
    "SSH_AUTH_SOCK",
    "GITHUB_TOKEN",
    "DATABASE_URL",
    "ANTHROPIC_LOG",
    "ANTHROPIC_API_KEY_OLD",
    "XANTHROPIC_API_KEY",
    "",
)
HOST = {name: f"{CANARY}-{name}" for name in (*PLAIN, *PROVIDER_VARIABLES, *COLLECTOR, *TRACING, *FORCED, *NEVER)}
HEADERS = {"traceparent": "00-1-2-01", "tracestate": "a=b"}


def test_only_the_list_passes() -> None:
    """Of a host full of variables the CLI gets those of the list, and what is set for it."""
    expected = {name: HOST[name] for name in (*PLAIN, *PROVIDER_VARIABLES)} | FORCED
    assert CLIEnvironment(HOST).build() == expected


def test_an_empty_host_gives_what_is_set() -> None:
    """What the host does not have is not made up."""
    assert CLIEnvironment({}).build() == FORCED


@pytest.mark.parametrize("name", FORCED)
def test_what_is_set_cannot_be_overridden(name: str) -> None:
    """Neither the host nor the operator's further names change what is set for every run."""
    assert CLIEnvironment(HOST, (name,)).build()[name] == FORCED[name]


def test_the_operator_can_let_more_through() -> None:
    """Variables that the operator names pass if they are there, and no others."""
    built = CLIEnvironment(HOST, ("HTTPS_PROXY", "NOT_THERE")).build()
    assert built["HTTPS_PROXY"] == HOST["HTTPS_PROXY"]
    assert set(built) == {*PLAIN, *PROVIDER_VARIABLES, *FORCED, "HTTPS_PROXY"}


def test_a_run_wears_its_responders_mark() -> None:
    """The mark by which the watchdog finds what a killed responder leaves is in every run's environment."""
    host = {"CLAUDE_NATS_RESPONDER": CANARY}
    assert CLIEnvironment(host, responder_mark="m1").build()["CLAUDE_NATS_RESPONDER"] == "m1"


@pytest.mark.parametrize("retries", [0, 10])
def test_retries_are_the_operators(retries: int) -> None:
    """How often the CLI repeats a call itself is told to it."""
    assert CLIEnvironment({}, max_retries=retries).build()["CLAUDE_CODE_MAX_RETRIES"] == str(retries)


@pytest.mark.parametrize(("tracing", "headers"), [(False, HEADERS), (True, {}), (True, None), (False, None)], ids=str)
def test_without_a_trace_there_are_no_tracing_variables(tracing: bool, headers: dict[str, str] | None) -> None:
    """The CLI exports spans only where tracing is on and the run is traced."""
    built = CLIEnvironment(HOST, tracing=tracing).build(headers)
    assert not [name for name in built if name.startswith(("OTEL_", "TRACE"))]
    assert not {*TRACING} & {*built}


def test_a_traced_run_gets_the_collector_and_its_parent() -> None:
    """With tracing the CLI gets fixed exporters, the responder's collector and the W3C context of its own span."""
    built = CLIEnvironment(HOST, tracing=True).build(HEADERS)
    expected = TRACING | {name: HOST[name] for name in COLLECTOR}
    expected |= {"TRACEPARENT": "00-1-2-01", "TRACESTATE": "a=b"}
    assert {name: built[name] for name in expected} == expected
    assert set(built) == {*PLAIN, *PROVIDER_VARIABLES, *FORCED, *expected}


def test_the_hosts_own_context_is_never_the_parent() -> None:
    """A TRACEPARENT in the responder's environment is not the run's."""
    assert CLIEnvironment(HOST, tracing=True).build({"traceparent": "00-9-9-00"})["TRACEPARENT"] == "00-9-9-00"
    assert "TRACESTATE" not in CLIEnvironment(HOST, tracing=True).build({"traceparent": "00-9-9-00"})


def test_secrets_are_the_values_whose_names_say_so() -> None:
    """Keys, tokens, secrets and headers that the CLI gets are told, so that they can be masked; others are not."""
    secrets = CLIEnvironment(HOST, ("MY_PASSWORD", "HTTPS_PROXY")).secrets()
    named = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_OAUTH_TOKEN")
    aws = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
    assert {HOST[name] for name in (*named, *aws)} <= secrets
    assert HOST["HOME"] not in secrets
    assert HOST["ANTHROPIC_MODEL"] not in secrets


HEADER_VARIABLES = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k3y=pad,authorization=Basic%20dXNlcjpwdw==,x-on=1,"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=k3y=pad, authorization=Basic%20dXNlcjpwdw== "),
    ("ANTHROPIC_CUSTOM_HEADERS", "X-Key: k3y=pad\nAuthorization: Basic dXNlcjpwdw=="),
]


@pytest.mark.parametrize(("name", "value"), HEADER_VARIABLES)
def test_each_headers_value_is_a_secret(name: str, value: str) -> None:
    """Headers, the collector's too, are secret as a whole and each by itself, as sent and without its scheme."""
    secrets = CLIEnvironment({name: value}, tracing=True).secrets()
    assert {value, "k3y=pad", "Basic dXNlcjpwdw==", "dXNlcjpwdw=="} <= secrets
    assert not {"", "1", "x-key", "X-Key", "Basic"} & secrets


def test_an_operators_own_secret_is_one_too() -> None:
    """A further variable whose name says that it is secret is among the secrets."""
    assert CLIEnvironment({"MY_PASSWORD": "hunter2"}, ("MY_PASSWORD",)).secrets() == {"hunter2"}


def test_an_empty_secret_is_none() -> None:
    """An empty variable is not masked: every text holds it."""
    assert CLIEnvironment({"ANTHROPIC_API_KEY": ""}).secrets() == frozenset()


def test_a_repr_shows_no_value() -> None:
    """The host's values are not in the repr."""
    assert CANARY not in repr(CLIEnvironment(HOST))
