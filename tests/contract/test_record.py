"""Records of runs: what names them, what tells requests apart, and replies in parts."""

import pytest

from contract import (
    ExecuteRequest,
    KeptReply,
    RecordError,
    RunRecord,
    RunState,
    fingerprint,
    is_plain_subject,
    kept_reply,
    parse_record,
    record_key,
    whole_reply,
)

RECORD = RunRecord(state=RunState.RUNNING, fingerprint="f", run="R", instance="I", started_at=1.5, deadline=61.5)


def test_a_record_is_read_as_it_was_written() -> None:
    """A record survives its JSON, also with what a newer version says."""
    assert parse_record(RECORD.to_bytes()) == RECORD
    assert parse_record(RECORD.to_bytes().replace(b"{", b'{"newer": 1, ', 1)) == RECORD


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"state": "lost"}', b"\xff"])
def test_what_is_no_record(body: bytes) -> None:
    """Other bytes are refused without being shown."""
    with pytest.raises(RecordError, match=r"^what is stored under the idempotency key is no record of this protocol$"):
        parse_record(body)


def test_a_key_is_a_token_that_hides_what_the_caller_wrote() -> None:
    """The record's name is one token of a subject, whatever the idempotency key is."""
    name = record_key("a.b:c")
    assert is_plain_subject(name)
    assert "." not in name
    assert name != record_key("a.b:d")


OTHERS = [
    ExecuteRequest(prompt="q"),
    ExecuteRequest(prompt="p", args=()),
    ExecuteRequest(prompt="p", args=("-p",)),
    ExecuteRequest(prompt="p", args=("-", "p")),
    ExecuteRequest(prompt="p", cwd="repo"),
    ExecuteRequest(prompt="p", cwd=""),
]


def test_a_fingerprint_tells_requests_apart() -> None:
    """Prompt, arguments and directory count; the id and the timeout do not."""
    prints = {fingerprint(request) for request in [ExecuteRequest(prompt="p"), *OTHERS]}
    assert len(prints) == 1 + len(OTHERS)
    assert fingerprint(ExecuteRequest(prompt="p", id="i", timeout_ms=5, idempotency_key="k")) in prints


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 95])
def test_a_reply_in_parts(size: int) -> None:
    """A reply comes back from its parts to the byte, none of which is too large."""
    reply = bytes(range(size))
    kept, parts = kept_reply(reply, 10)
    assert (kept.parts, kept.size) == (len(parts), size)
    assert all(0 < len(part) <= 10 for part in parts)
    assert whole_reply(kept, parts) == reply


@pytest.mark.parametrize("parts", [[], [b"ab"], [b"ab", b"cx"], [b"ab", b"cd", b"e"]])
def test_a_reply_that_is_not_whole(parts: list[bytes]) -> None:
    """Parts that are missing or changed are not taken for the reply."""
    kept, _ = kept_reply(b"abcd", 2)
    assert isinstance(kept, KeptReply)
    with pytest.raises(RecordError):
        whole_reply(kept, parts)
