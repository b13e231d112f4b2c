"""What the OTEL_* variables ask for."""

import pytest

from telemetry import TelemetryError, traces_endpoint
from telemetry.settings import check_settings, resource_attributes

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: "http://c:4318"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318/otlp"}, "http://c:4318/otlp/v1/traces"),
        ({TRACES_ENDPOINT: "http://t:1/own"}, "http://t:1/own"),
        ({TRACES_ENDPOINT: "http://t:1/own", ENDPOINT: "http://c:4318"}, "http://t:1/own"),
        ({TRACES_ENDPOINT: "", ENDPOINT: "http://c:4318"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "True"}, None),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "false"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "otlp"}, "http://c:4318/v1/traces"),
    ],
)
def test_endpoint(environ: dict[str, str], expected: str | None) -> None:
    """The endpoint for traces wins over the shared one, empty is unset, and two variables switch it off."""
    assert traces_endpoint(environ) == expected


@pytest.mark.parametrize(
    ("environ", "endpoint", "names"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://c", ["OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http/protobuf"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "http://c", ["TRACES_PROTOCOL=http/json"]),
        ({"OTEL_TRACES_EXPORTER": "console"}, "http://c", ["OTEL_TRACES_EXPORTER=console", "otlp or none"]),
        ({}, "localhost:4318/v1/traces", ["http://127.0.0.1:4318"]),
        ({}, "http:///v1/traces", ["not a URL"]),
        ({}, "http://c:port/v1/traces", ["not a URL"]),
        ({}, "http://[::1/v1/traces", ["not a URL"]),
    ],
)
def test_refused(environ: dict[str, str], endpoint: str, names: list[str]) -> None:
    """What cannot be exported is refused in one line that names the variable and what to write instead."""
    with pytest.raises(TelemetryError) as caught:
        check_settings(environ, endpoint)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        {"OTEL_TRACES_EXPORTER": " OTLP "},
    ],
)
def test_accepted(environ: dict[str, str]) -> None:
    """The one protocol and exporter are accepted, and the variable for traces decides over the shared one."""
    check_settings(environ, "https://collector.example/v1/traces")


def test_resource_precedence() -> None:
    """The operator's variables win over what the program says, and OTEL_SERVICE_NAME over all."""
    environ = {
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs, team=a%20b,broken,=x,instance=theirs",
        "OTEL_SERVICE_NAME": "named",
    }
    attributes = resource_attributes(environ, "ours", {"instance": "ours", "zone": "z"})
    attributes.pop("service.version", None)  # there when the distribution is installed
    assert attributes == {"service.name": "named", "team": "a b", "instance": "theirs", "zone": "z"}


def test_resource_defaults() -> None:
    """Without variables the program's own name stands."""
    assert resource_attributes({}, "ours", {})["service.name"] == "ours"
