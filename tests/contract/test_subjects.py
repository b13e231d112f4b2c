"""Subjects, the inbox check and what attacks it."""

import pytest

from contract import Subjects, has_inbox_prefix, is_plain_subject


def test_the_subjects_of_a_fleet() -> None:
    """The documented subjects are built from the default prefix."""
    subjects = Subjects()
    assert (subjects.execute, subjects.health, subjects.limited) == (
        "claude.cli.execute",
        "claude.cli.health",
        "claude.cli.limited",
    )
    assert subjects.health_of("host-7") == "claude.cli.health.host-7"


def test_a_prefix_of_ones_own() -> None:
    """Fleets that share an account keep apart by their prefix."""
    assert Subjects("team_a.claude-2").execute == "team_a.claude-2.execute"


NOT_PLAIN = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "*",
    ">",
    "a.*",
    "a.>",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\n",
    "a\r\nPUB x 0",
    "a\0",
    "$JS.API",
    "a/b",
    "a:b",
    "\u00e9",
    "\uff41",
    "\u0661",
]


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_what_is_not_plain_is_no_prefix(text: str) -> None:
    """A prefix with wildcards, spaces, empty tokens or anything beyond ASCII letters is refused."""
    assert not is_plain_subject(text)
    with pytest.raises(ValueError, match="letters, digits"):
        Subjects(text)


@pytest.mark.parametrize("text", ["a", "A-b_9", "claude.cli", "a.b.c.d.e", "x" * 500])
def test_plain_subjects(text: str) -> None:
    """Letters, digits, dash and underscore in tokens joined by dots are plain."""
    assert is_plain_subject(text)


@pytest.mark.parametrize(
    ("reply_subject", "prefix"),
    [
        ("_INBOX.a", "_INBOX"),
        ("_INBOX.UIYHHWGXKDZPHJSVBLEMMQ.UIYHHWGXKDZPHJSVBLEM3R", "_INBOX"),
        ("_INBOX_req.a-b.c", "_INBOX_req"),
        ("team.inbox.x", "team.inbox"),
    ],
)
def test_inboxes(reply_subject: str, prefix: str) -> None:
    """What begins with the prefix and a dot, and has a plain rest, may be published to."""
    assert has_inbox_prefix(reply_subject, prefix)


@pytest.mark.parametrize(
    "reply_subject",
    [
        "",
        "_INBOX",
        "_INBOX.",
        "_INBOXX.a",
        "_INBOX_req.a",
        "_inbox.a",
        "$JS.API.STREAM.DELETE.X",
        "$JS.API.STREAM.DELETE.ORDERS",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
        "claude.cli.execute",
        "orders._INBOX.a",
        " _INBOX.a",
        "_INBOX.a ",
        "_INBOX.a b",
        "_INBOX.a\n",
        "_INBOX.a\r\nPUB $JS.API.STREAM.DELETE.X 0\r\n",
        "_INBOX.a\t",
        "_INBOX.*",
        "_INBOX.>",
        "_INBOX.a.>",
        "_INBOX..a",
        "_INBOX.a.",
        "_INBOX.\u00e9",
        "_INBOX.\0",
        "_INBOX.$JS.API",
        ">",
        "*",
    ],
)
def test_foreign_reply_subjects(reply_subject: str) -> None:
    """A reply subject that is no inbox is refused: the responder would publish to it with its own permissions."""
    assert not has_inbox_prefix(reply_subject, "_INBOX")


def test_an_empty_prefix_opens_nothing() -> None:
    """An inbox prefix of nothing lets no subject through rather than every one."""
    for subject in ("a", ".a", "$JS.API.STREAM.DELETE.X", "_INBOX.a"):
        assert not has_inbox_prefix(subject, "")
