"""What runs leave is removed, whatever it is, and nobody waits long for it."""

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder.removal import Removals, Tree
from tests.responder.limits import needs_root, no_more_descriptors
from tests.support.conditions import wait_until

NOBODY = 65534
CANARY = "canary-5f1c9"
DEPTH = 3000

pytestmark = pytest.mark.usefixtures("patience")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Give a directory of a user to whom modes apply: root becomes another one for the test."""
    user = os.geteuid()
    if user:
        yield tmp_path
        return
    os.seteuid(NOBODY)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    finally:
        os.seteuid(user)


def make_deep(top: Path, depth: int = DEPTH) -> None:
    """Nest directories, with a file in each."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)  # the path would be longer than paths can be
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def removed(path: Path) -> dict[str, int]:
    return dict(Tree(str(path), lambda: False).remove())


def test_a_deep_tree(tmp_path: Path) -> None:
    """Thousands of nested directories go with a handful of descriptors."""
    make_deep(tmp_path / "run")
    with no_more_descriptors(6):
        assert removed(tmp_path / "run") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_wide_tree(tmp_path: Path) -> None:
    """Many directories with many entries go too."""
    for number in range(300):
        (tmp_path / "run" / f"{number}" / "a" / "b").mkdir(parents=True)
        (tmp_path / "run" / f"{number}" / "a" / "file").touch()
    for number in range(2000):
        (tmp_path / "run" / f"file-{number}").touch()
    assert removed(tmp_path / "run") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o500, 0o300])
def test_modes(own: Path, mode: int) -> None:
    """Directories that a run has closed to itself, its own and those in it, are opened and removed."""
    for name in ("run/a/b/c", "run/a/empty"):
        (own / name).mkdir(parents=True)
    (own / "run" / "a" / "b" / "file").touch(mode=0)
    for name in ("run/a/b/c", "run/a/empty", "run/a/b", "run/a", "run"):
        (own / name).chmod(mode)
    assert removed(own / "run") == {}
    assert list(own.iterdir()) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Links out of the tree go, at any depth; what they lead to stays, with its mode."""
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True, mode=0o500)
    (tmp_path / "run" / "a").mkdir(parents=True)
    (tmp_path / "run" / "link").symlink_to(outside)
    (tmp_path / "run" / "a" / "link").symlink_to(outside / "kept")
    assert removed(tmp_path / "run") == {}
    assert list(tmp_path.iterdir()) == [outside]
    assert (outside / "kept").stat().st_mode & 0o777 == 0o500


def test_a_link_in_the_place_of_the_directory(tmp_path: Path) -> None:
    """A run that has put a link where its directory was loses the link, and what it leads to stays."""
    kept = tmp_path / "outside" / "kept"
    kept.mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "outside")
    assert removed(tmp_path / "run") == {}
    assert not (tmp_path / "run").is_symlink()
    assert kept.is_dir()


def test_a_directory_that_has_gone(tmp_path: Path) -> None:
    """What is not there need not be removed."""
    assert removed(tmp_path / "run") == {}


def test_what_stays_is_counted_and_the_rest_goes(tmp_path: Path) -> None:
    """An entry that cannot be removed does not protect its neighbours."""
    for name in ("a", "b"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / f"file-{name}").touch()
    with no_more_descriptors(2):
        assert removed(tmp_path / "run") == {"EMFILE": 2}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["a", "b"]


@needs_root
def test_another_users_entries_stay(own: Path) -> None:
    """What belongs to another user in a tree of ours is left, and the removal ends."""
    (own / "run" / "a").mkdir(parents=True)
    os.seteuid(0)
    (own / "run" / "a" / "theirs" / "deep").mkdir(parents=True)
    os.seteuid(NOBODY)
    try:
        assert removed(own / "run") == {"EACCES": 1}
    finally:
        os.seteuid(0)
        removed(own / "run")
        os.seteuid(NOBODY)


def test_the_log_names_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What stays is one line with a count and the error's name: a file's name may hold what a prompt said."""
    (tmp_path / CANARY / CANARY).mkdir(parents=True)
    with no_more_descriptors(2):
        Removals().remove_now(str(tmp_path / CANARY))
    (line,) = caplog.messages
    assert line == "a working directory stays: 1 entries could not be removed (1 EMFILE)"


def test_a_removal_can_be_stopped(tmp_path: Path) -> None:
    """A removal gives up between two entries, without an error."""
    make_deep(tmp_path / "run", 100)
    for number in range(100):
        (tmp_path / "run" / f"file-{number}").touch()
    asked = iter(range(40))
    assert Tree(str(tmp_path / "run"), lambda: next(asked, None) is None).remove() == {}
    assert len(list((tmp_path / "run").iterdir())) > 60
    assert removed(tmp_path / "run") == {}


async def test_nobody_waits_long(tmp_path: Path) -> None:
    """A removal that takes longer than its bound goes on without the one who asked for it."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    gate = threading.Event()
    removals = Removals(wait_s=0.01)
    try:
        busy = [removals.begin(gate.wait) for _ in range(2)]
        await removals.remove(str(tmp_path / "run"))
        assert (tmp_path / "run").exists()
    finally:
        gate.set()
    await asyncio.gather(*busy)
    await removals.close()
    assert not (tmp_path / "run").exists()


async def test_a_directory_is_emptied(tmp_path: Path) -> None:
    """What is in a directory goes, however deep, and the directory itself stays; one that is empty is just that."""
    top = tmp_path / "run"
    make_deep(top)
    (top / "link").symlink_to(tmp_path)
    removals = Removals(wait_s=20)
    inode = top.stat().st_ino
    assert await removals.empty(str(top))
    assert (list(top.iterdir()), top.stat().st_ino) == ([], inode)
    assert await removals.empty(str(top))
    await removals.close()


async def test_what_is_not_emptied_in_time(tmp_path: Path) -> None:
    """Who has a directory emptied does not wait long, and is told that it is not; it goes on."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    gate = threading.Event()
    removals = Removals(wait_s=0.01)
    try:
        busy = [removals.begin(gate.wait) for _ in range(2)]
        assert not await removals.empty(str(tmp_path / "run"))
        assert (tmp_path / "run" / "a").exists()
    finally:
        gate.set()
    await asyncio.gather(*busy)
    await removals.close()
    assert list((tmp_path / "run").iterdir()) == []


async def test_what_cannot_be_emptied(tmp_path: Path) -> None:
    """What is no directory is not emptied, nor is anything where that has ended; nothing is raised."""
    (tmp_path / "file").touch()
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    removals = Removals(wait_s=20)
    assert not await removals.empty(str(tmp_path / "file"))
    assert not await removals.empty(str(tmp_path / "link"))
    await removals.close()
    assert not await removals.empty(str(tmp_path / "real"))
    assert (tmp_path / "file").exists()
    assert (tmp_path / "real" / "a").exists()


async def test_emptying_that_is_ended_in_the_middle(tmp_path: Path) -> None:
    """What was given up at the end of the responder does not count as empty."""
    removals = Removals(wait_s=20)
    work = tmp_path / "run"
    (work / "a").mkdir(parents=True)
    removals._stopped.set()
    assert not await removals.empty(str(work))
    assert (work / "a").exists()
    await removals.close()


def test_what_is_left_of_emptying_is_counted(tmp_path: Path) -> None:
    """Why a directory could not be emptied is told by the name of the error; one that is not there has nothing."""
    (tmp_path / "file").touch()
    assert Tree(str(tmp_path / "file"), lambda: False).empty() == {"ENOTDIR": 1}
    assert Tree(str(tmp_path / "nowhere"), lambda: False).empty() == {}


async def test_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    """A removal leaves the event loop to others, and so does a cancelled wait for it leave the removal."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    gate = threading.Event()
    removals = Removals(wait_s=20)
    try:
        busy = [removals.begin(gate.wait) for _ in range(2)]
        waiting = asyncio.ensure_future(removals.remove(str(tmp_path / "run")))
        await wait_until(lambda: repr(removals) == "<Removals 3 unfinished>", "the removal has begun")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    finally:
        gate.set()
    await asyncio.gather(*busy)
    await removals.close()
    assert not (tmp_path / "run").exists()


async def test_close_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The end of the responder does not wait for ever; what is not removed by then is left and said."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    gate = threading.Event()
    removals = Removals(wait_s=0)
    try:
        busy = [removals.begin(gate.wait) for _ in range(2)]
        await removals.remove(str(tmp_path / "run"))
        await removals.close(timeout_s=0.01)
        assert removals.is_stopped
        assert caplog.messages == ["working directories are left to the next start: <Removals 3 unfinished>"]
    finally:
        gate.set()
    await asyncio.gather(*busy)
    assert (tmp_path / "run").exists()


async def test_without_a_thread_nothing_is_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the system starts no thread, the directory stays, which is logged, and the run's answer goes on."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    removals = Removals()
    before = threading.stack_size(1 << 48)  # more than there are addresses
    try:
        await removals.remove(str(tmp_path / "run"))
    finally:
        threading.stack_size(before)
    assert caplog.messages == ["working directories are left to the next start: can't start new thread"]
    assert (tmp_path / "run").exists()
    await removals.close()
    await removals.remove(str(tmp_path / "run"))
    assert "cannot schedule new futures after shutdown" in caplog.messages[-1]


async def test_a_defect_in_a_removal_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that should not be ends the removal alone, and its text, which may hold a name, is not logged."""

    def fail() -> None:
        raise ZeroDivisionError(CANARY)

    with caplog.at_level(logging.ERROR):
        await Removals().begin(fail)
    assert caplog.messages == ["defect in a removal: ZeroDivisionError"]
