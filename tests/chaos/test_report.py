"""What is said of the cases."""

import io

from rich.console import Console

from chaos.cases import CASES
from chaos.checks import Check
from chaos.report import document, print_outcome, table
from chaos.trial import NoVerdict, Verdict
from tests.chaos.evidence import GOOD, with_fault

CASE = CASES[0]


def test_the_numbers_of_a_case() -> None:
    """The document has what the table shows, and each check."""
    found = document(Verdict(CASE, GOOD, [Check("all were sent", is_good=True)], 12.34))
    assert {name: found[name] for name in ("sent", "answered", "failed", "started_twice", "lost", "left")} == {
        "sent": 3, "answered": 2, "failed": {"responder_lost": 1}, "started_twice": 0, "lost": 0, "left": 0,
    }  # fmt: skip
    assert (found["case"], found["verdict"], found["reported_after_s"], found["seconds"]) == (
        "kill",
        "passed",
        0.6,
        12.3,
    )
    assert found["checks"] == [{"name": "all were sent", "good": True, "detail": ""}]


def test_what_was_not_shown_is_named() -> None:
    """A failed check is printed with what was seen, and the case has failed."""
    verdict = Verdict(CASE, with_fault(left=2), [Check("no process left after 2 s", is_good=False, detail="2 left")], 1)
    console = Console(width=140, record=True, file=io.StringIO())
    print_outcome(console, verdict)
    console.print(table([verdict]))
    text = console.export_text()
    assert "not shown: no process left after 2 s: 2 left" in text
    assert document(verdict)["verdict"] == "failed"


def test_a_case_that_was_not_carried_out_is_told() -> None:
    """It stands in the table and in the document, with its reason."""
    console = Console(width=140, record=True, file=io.StringIO())
    missing = NoVerdict(CASE, "r1 did not get ready")
    console.print(table([missing]))
    assert "not carried out" in console.export_text()
    assert document(missing) == {"case": "kill", "verdict": "not carried out", "how": "r1 did not get ready"}
