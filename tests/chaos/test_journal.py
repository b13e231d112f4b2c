"""What the load writes down is what the harness reads."""

from pathlib import Path

from chaos.journal import ANSWERED, Journal


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A request that has ended and one that has not are both there, in their order."""
    journal = Journal(tmp_path / "journal")
    assert journal.read() == []
    journal.sent("one")
    journal.sent("two")
    journal.ended("one", code=ANSWERED, responder="r1")
    one, two = journal.read()
    assert one.is_answered
    assert one.ended_at is not None
    assert one.was_under_way(one.sent_at)
    assert not one.was_under_way(one.ended_at)
    assert (two.token, two.ended_at, two.code) == ("two", None, None)
    assert two.was_under_way(two.sent_at + 1000)
    assert journal.count_sent() == 2


def test_a_half_written_line_is_not_there_yet(tmp_path: Path) -> None:
    """The load may be killed, or looked at, in the middle of a line."""
    journal = Journal(tmp_path / "journal")
    journal.sent("one")
    with (tmp_path / "journal").open("a") as file:
        file.write('{"token": "one", "ended_at": 12')
    assert [asked.ended_at for asked in journal.read()] == [None]
