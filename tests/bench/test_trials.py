"""What several trials say together."""

from bench.routing.sojourns import Sojourns
from bench.routing.trials import Fleetwise, Trial, panels, sheet

IDEAL = Sojourns([1.0, 1.0])


def seen(*, idle_max_ms: float, failed: int) -> Fleetwise:
    return Fleetwise(1.1, 70.0, 5.0, 5.0, 3.0, idle_max_ms, idle_late=1, sent_again=0, failed=failed, run_again=0)


def trial(seed: int, seconds: float, real: Fleetwise | None = None) -> Trial:
    return Trial("stealing", 0.95, seed, Sojourns([seconds, seconds]), IDEAL, real, {"timeout": 1} if real else {})


def test_times_are_medians_of_the_seeds() -> None:
    """One seed that went badly does not make the number."""
    (row,) = sheet("t", [trial(1, 1.0), trial(2, 9.0), trial(3, 1.5)]).rows
    assert (row["mean s"], row["/ ideal"], row["p99 / ideal"]) == (1.5, 1.5, 1.5)
    assert row["failed"] is None


def test_what_should_not_be_is_never_hidden_by_a_median() -> None:
    """Failures of all seeds are added, and the longest idle wait is the worst."""
    real = [
        trial(1, 1.0, seen(idle_max_ms=3.0, failed=0)),
        trial(2, 1.0, seen(idle_max_ms=80.0, failed=2)),
        trial(3, 1.0, seen(idle_max_ms=4.0, failed=0)),
    ]
    (row,) = sheet("t", real).rows
    assert (row["idle max ms"], row["idle > 50 ms"], row["failed"]) == (80.0, 3, 2)


def test_each_trial_is_in_the_document() -> None:
    """The file has the numbers of each seed, with the percentiles of the plot and the codes of what failed."""
    found = sheet("t", [trial(1, 1.0), trial(2, 2.0, seen(idle_max_ms=1.0, failed=1))]).document()
    assert [one["seed"] for one in found["trials"]] == [1, 2]
    assert set(found["trials"][1]["percentiles"].values()) == {2.0}
    assert found["trials"][1]["failures"] == {"timeout": 1}


def test_a_panel_has_the_times_of_all_seeds() -> None:
    """The curve of a way is drawn from all that was measured of it at that load."""
    (panel,) = panels([trial(1, 1.0), trial(2, 3.0)])
    assert panel.title == "load 0.95"
    assert len(panel.curves["stealing"]) == 4
    assert panel.curves["stealing"].mean == 2.0
