"""What counts against the server's `max_payload`, beside a message built by hand."""

import pytest

from contract import message_size


def block_by_hand(headers: list[bytes]) -> bytes:
    """Write a header block as the NATS protocol has it."""
    return b"NATS/1.0\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        ({"a": "b"}, [b"a: b"]),
        ({"a": ""}, [b"a: "]),
        ({"traceparent": "00-1-2-01", "X": "y z"}, [b"traceparent: 00-1-2-01", b"X: y z"]),
        ({"Nats-Service-Error": "caf\u00e9 \U0001f600"}, ["Nats-Service-Error: caf\u00e9 \U0001f600".encode()]),
        ({f"name-{n}": "v" * n for n in range(50)}, [f"name-{n}: {'v' * n}".encode() for n in range(50)]),
    ],
)
def test_headers_count_byte_for_byte(headers: dict[str, str], lines: list[bytes]) -> None:
    """The size is that of the header block as it travels, and of the payload."""
    block = block_by_hand(lines)
    assert message_size(headers, b"") == len(block)
    assert message_size(headers, b"payload") == len(block) + 7


@pytest.mark.parametrize("body", [b"", b"x", b"\xc3\xa9" * 1000])
def test_without_headers_there_is_no_block(body: bytes) -> None:
    """A message without headers counts its payload alone."""
    assert message_size({}, body) == len(body)
