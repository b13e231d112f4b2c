"""Where a run works: what gets in, what does not, and what is left."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import ErrorCode, RequestError
from responder.child import ChildStartError
from responder.removal import Removals
from responder.working_directory import WorkingDirectories
from tests.responder.limits import needs_attributes, needs_root, no_more_descriptors
from tests.responder.test_removal import make_deep
from tests.support.conditions import wait_until

CANARY = "canary-5f1c9"


@pytest.fixture
def roots(tmp_path: Path) -> WorkingDirectories:
    """Lay out a root with directories, links and a file, and what must not be reached around it.

    root/repo/src, root/-evil, root/file, links out of the root and inside it; beside it root-evil, outside and second.
    """
    for name in ("root/repo/src", "root/-evil/x", "root-evil/x", "outside/deep", "second/only", f"outside/{CANARY}"):
        (tmp_path / name).mkdir(parents=True)
    root = tmp_path / "root"
    (root / "file").touch()
    links = {
        "out": tmp_path / "outside",
        "out-relative": Path("../outside"),
        "up": Path(".."),
        "slash": Path("/"),
        "proc": Path("/proc/self/root"),
        "loop": Path("loop"),
        "dangling": Path("nowhere"),
        "in": Path("repo"),
        "in-absolute": root / "repo",
        "in-by-the-way-out": Path(f"../{root.name}/repo"),
        "to-file": Path("file"),
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "repo" / "back").symlink_to("../repo/src")
    return WorkingDirectories([root, tmp_path / "second"], tmp_path / "outside")


def resolved(path: str) -> Path:
    return Path(path).resolve()


def is_there(path: str) -> bool:
    return os.access(path, os.F_OK)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def entered(directories: WorkingDirectories, cwd: str) -> Path:
    """Give the directory that a child would really be in."""
    async with directories.enter(cwd) as path:
        return resolved(path)


async def refusal_of(directories: WorkingDirectories, cwd: str) -> str:
    with pytest.raises(RequestError) as caught:
        directories.check(cwd)
    assert caught.value.code is ErrorCode.CWD_REFUSED
    message = str(caught.value)
    with pytest.raises(RequestError) as caught:
        async with directories.enter(cwd):
            pass
    assert str(caught.value) == message
    assert CANARY not in message
    assert message.isprintable()
    return message


INSIDE = {
    ".": "root",
    "./": "root",
    "repo": "root/repo",
    "repo/": "root/repo",
    "repo//src": "root/repo/src",
    "repo/./src": "root/repo/src",
    "repo/src/..": "root/repo",
    "repo/../repo": "root/repo",
    "in": "root/repo",
    "in/src": "root/repo/src",
    "repo/back": "root/repo/src",
    "only": "second/only",
    "{root}": "root",
    "{root}/": "root",
    "{root}//repo": "root/repo",
    "{root}/repo/src": "root/repo/src",
    "{root}/repo/../repo/src": "root/repo/src",
    "{second}/only": "second/only",
}


@pytest.mark.parametrize(("cwd", "expected"), INSIDE.items())
async def test_inside_a_root(roots: WorkingDirectories, tmp_path: Path, cwd: str, expected: str) -> None:
    """A directory inside a root is entered, however it is spelled, relative to any root or absolute."""
    cwd = cwd.format(root=tmp_path / "root", second=tmp_path / "second")
    roots.check(cwd)
    assert await entered(roots, cwd) == tmp_path / expected


OUTSIDE = (
    "",
    "..",
    "../",
    "../root-evil",
    "../outside",
    "repo/../..",
    "repo/../../outside",
    "repo/src/../../../root-evil",
    "/",
    "//",
    "/etc",
    "/proc/self/root",
    "/proc/self/root/etc",
    "/proc/self/cwd",
    "/proc/self/fd/0",
    "/dev/fd",
    "{root}-evil",
    "{root}-evil/x",
    "{root}/../root-evil",
    "{root}/..",
    "{root}/../outside",
    "{root}/../root/repo",
    "/{root}/repo",
    "{parent}",
    "{parent}/outside",
    "/proc/self/root{root}/repo",
    "out",
    "out/deep",
    "out-relative",
    "up",
    "up/root/repo",
    "slash",
    "slash/etc",
    "proc",
    "proc/etc",
    "loop",
    "dangling",
    "in-absolute",
    "in-by-the-way-out",
    "{root}/out",
    "{root}/out/deep",
    "file",
    "file/",
    "to-file",
    "file/..",
    "missing",
    "missing/..",
    "repo/missing",
    "~",
    "~root",
    "$HOME",
    "repo\0",
    "\0",
    "repo\0/../../outside",
    "..\0",
    " ",
    " repo",
    "repo ",
    "Repo",
    "-",
    "x" * 300,
    "x/" * 3000,
    "../" * 3000,
    f"../outside/{CANARY}",
    f"{CANARY}/missing",
)


@pytest.mark.parametrize("cwd", OUTSIDE, ids=lambda cwd: repr(cwd[:40]))
async def test_outside_every_root(roots: WorkingDirectories, tmp_path: Path, cwd: str) -> None:
    """What leads out of the roots, is no directory, or is not there, is refused at admission and at entry."""
    await refusal_of(roots, cwd.replace("{root}", str(tmp_path / "root")).replace("{parent}", str(tmp_path)))


@pytest.mark.parametrize("cwd", ["", "\0", "repo\0"])
async def test_names_that_are_none(roots: WorkingDirectories, cwd: str) -> None:
    """An empty name and one with a NUL are refused before the kernel sees them."""
    assert "it is empty or has a NUL" in await refusal_of(roots, cwd)


async def test_refusals_do_not_tell_what_exists(roots: WorkingDirectories, tmp_path: Path) -> None:
    """A directory outside and one that does not exist are refused in the same words."""
    existing = await refusal_of(roots, str(tmp_path / "outside"))
    assert existing == await refusal_of(roots, str(tmp_path / "no-such")) == await refusal_of(roots, "missing")


@pytest.mark.parametrize("cwd", ["repo", ".", "/", "/tmp", ""])
async def test_without_roots_nothing_may_be_named(tmp_path: Path, cwd: str) -> None:
    """A responder without roots refuses every directory, and says that it has none."""
    assert "has no roots" in await refusal_of(WorkingDirectories([], tmp_path), cwd)


async def test_a_root_that_has_gone_is_passed_over(tmp_path: Path) -> None:
    """A root that was deleted refuses what was in it, and the other roots still serve."""
    (tmp_path / "there" / "repo").mkdir(parents=True)
    directories = WorkingDirectories([tmp_path / "gone", tmp_path / "there"])
    assert await entered(directories, "repo") == tmp_path / "there" / "repo"
    await refusal_of(directories, str(tmp_path / "gone" / "repo"))


async def test_the_root_directory_as_a_root(tmp_path: Path) -> None:
    """An operator who allows everything can: `/` is a root like another."""
    assert await entered(WorkingDirectories([Path("/")]), str(tmp_path)) == tmp_path


async def test_a_swap_after_admission_is_caught(roots: WorkingDirectories, tmp_path: Path) -> None:
    """A directory that has become a link out of the root since it was checked is not entered."""
    roots.check("repo")
    (tmp_path / "root" / "repo").rename(tmp_path / "root" / "moved")
    (tmp_path / "root" / "repo").symlink_to(tmp_path / "outside")
    await refusal_of(roots, "repo")


async def test_a_swap_after_entry_changes_nothing(roots: WorkingDirectories, tmp_path: Path) -> None:
    """What is entered is the directory itself, not its name: a link put in its place later leads nobody out."""
    async with roots.enter("repo") as path:
        (tmp_path / "root" / "repo").rename(tmp_path / "root" / "moved")
        (tmp_path / "root" / "repo").symlink_to(tmp_path / "outside")
        assert resolved(path) == tmp_path / "root" / "moved"


async def test_a_fresh_directory_is_private_and_empty(roots: WorkingDirectories, tmp_path: Path) -> None:
    """A run whose caller names no directory gets one of its own, empty and closed to others."""
    async with roots.enter(None) as first, roots.enter(None) as second:
        assert first != second
        for path in map(Path, (first, second)):
            assert path.parent.parent == tmp_path / "outside"
            assert list(path.iterdir()) == []
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert path.stat().st_uid == os.getuid()


async def test_a_fresh_directory_is_removed_when_empty(roots: WorkingDirectories) -> None:
    """A run that left nothing leaves no directory, though nobody waits until it has gone."""
    async with roots.enter(None) as path:
        pass
    await wait_until(lambda: not is_there(path), "it is removed")


async def test_empty_directories_are_gone_at_the_end(tmp_path: Path) -> None:
    """A responder that ends has removed what runs have left that ended just before, also what came to it meanwhile."""
    directories = WorkingDirectories([], tmp_path)
    async with directories.enter(None), directories.enter(None) as late:
        pass
    (Path(late) / "file").touch()
    await directories.close()
    assert names(tmp_path) == []


async def test_the_event_loop_removes_nothing(tmp_path: Path) -> None:
    """A disk that takes long to remove a directory keeps no other request waiting: threads do it."""
    removals = Removals()
    directories = WorkingDirectories([], tmp_path, removals)
    gate = threading.Event()
    try:
        for _ in range(2):
            removals.begin(gate.wait)
        async with directories.enter(None) as path:
            pass
        closing = asyncio.create_task(directories.close())
        await asyncio.sleep(0)
        assert is_there(path)
    finally:
        gate.set()
    await closing
    assert not is_there(path)


async def test_a_fresh_directory_is_removed_with_what_is_in_it(roots: WorkingDirectories, tmp_path: Path) -> None:
    """What a run has left goes with its directory; what it linked to stays."""
    kept = tmp_path / "outside" / "kept"
    kept.touch()
    async with roots.enter(None) as path:
        fresh = Path(path)
        (fresh / "a" / "b").mkdir(parents=True)
        (fresh / "a" / "b" / "file").write_text("x")
        (fresh / ".hidden").touch(mode=0)
        (fresh / "link").symlink_to(kept.parent)
        os.mkfifo(fresh / "fifo")
        (fresh / "bad\udcff").touch()
    assert not is_there(path)
    assert kept.exists()


async def test_a_fresh_directory_is_removed_after_a_failure(roots: WorkingDirectories) -> None:
    """A run that fails leaves no directory either."""
    with pytest.raises(RuntimeError):  # noqa: PT012 # the directory is entered before the failure
        async with roots.enter(None) as path:
            (Path(path) / "file").touch()
            raise RuntimeError
    assert not is_there(path)


async def test_a_run_may_remove_its_own_directory(roots: WorkingDirectories) -> None:
    """A run that has deleted its fresh directory has not broken anything."""
    async with roots.enter(None) as path:
        resolved(path).rmdir()


async def test_a_run_may_remove_every_runs_directory(tmp_path: Path) -> None:
    """A run, or who cleans up the scratch directory, may remove what all fresh directories are in: another is made."""
    directories = WorkingDirectories([], tmp_path)
    before = open_descriptors()
    async with directories.enter(None) as path:
        shutil.rmtree(resolved(path).parent)
    async with directories.enter(None) as path:
        assert is_there(path)
    await directories.close()
    assert names(tmp_path) == []
    assert open_descriptors() == before


async def test_a_named_directory_stays(roots: WorkingDirectories, tmp_path: Path) -> None:
    """A directory of the operator's is left as the run left it."""
    async with roots.enter("repo") as path:
        (Path(path) / "result").write_text("x")
    assert (tmp_path / "root" / "repo" / "result").read_text() == "x"


async def test_no_descriptor_is_left(roots: WorkingDirectories) -> None:
    """Neither a check nor an entry nor a refusal keeps a descriptor open."""
    before = open_descriptors()
    for cwd in ("repo", "in", "only", "../outside", "missing", "file", "loop"):
        try:
            roots.check(cwd)
            async with roots.enter(cwd):
                pass
        except RequestError:
            continue
    assert open_descriptors() == before


async def test_a_deep_tree_is_removed(tmp_path: Path) -> None:
    """A run that has nested thousands of directories has succeeded all the same, and they go."""
    async with WorkingDirectories([], tmp_path, Removals(wait_s=60)).enter(None) as path:
        make_deep(Path(path) / "deep")
    assert not is_there(path)


async def test_a_removal_that_takes_long_goes_on_behind_the_reply(tmp_path: Path) -> None:
    """A run's end waits a bounded time for its directory's removal, which goes on until the responder's end."""
    removals = Removals(wait_s=0.01)
    directories = WorkingDirectories([], tmp_path, removals)
    gate = threading.Event()
    try:
        for _ in range(2):
            removals.begin(gate.wait)
        async with directories.enter(None) as path:
            (Path(path) / "file").touch()
        assert is_there(path)
    finally:
        gate.set()
    await directories.close()
    assert not is_there(path)


async def emptied(directories: WorkingDirectories, path: str, within: str | None = None) -> bool:
    """Have a directory emptied, or the one in its place, that a process works in."""
    process = await asyncio.create_subprocess_exec("sleep", "300", cwd=within or path)
    try:
        return await directories.empty(path, process.pid)
    finally:
        process.kill()
        await process.wait()


async def test_a_fresh_directory_is_as_new_again(roots: WorkingDirectories) -> None:
    """What is in the directory of a process goes; one in which there is nothing is as new already."""
    async with roots.enter(None) as path:
        assert await emptied(roots, path)
        (Path(path) / "a").mkdir()
        (Path(path) / "a" / ".b").touch()
        assert await emptied(roots, path)
        assert names(resolved(path)) == []


@pytest.mark.parametrize("mode", [0o500, 0o755, 0o1700, 0o4700, 0o707])
async def test_a_mode_is_not_as_new(roots: WorkingDirectories, mode: int) -> None:
    """A directory whose mode was changed is not as new, empty or not."""
    async with roots.enter(None) as path:
        resolved(path).chmod(mode)
        assert not await emptied(roots, path)
        resolved(path).chmod(0o2700)
        assert await emptied(roots, path)  # what it has of its parent


@needs_root
async def test_an_owner_is_not_as_new(roots: WorkingDirectories) -> None:
    """A directory that was given to somebody else is not as new."""
    async with roots.enter(None) as path:
        os.chown(path, 65534, -1)
        assert not await emptied(roots, path)
        os.chown(path, os.geteuid(), -1)


@needs_attributes
async def test_an_attribute_is_not_as_new(roots: WorkingDirectories) -> None:
    """A directory on which something is written is not as new."""
    async with roots.enter(None) as path:
        os.setxattr(path, "user.word", b"x")
        assert not await emptied(roots, path)


async def test_another_directory_is_not_emptied(roots: WorkingDirectories, tmp_path: Path) -> None:
    """What is not the directory of the process keeps what is in it, and is not as new."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "file").touch()
    async with roots.enter(None) as path:
        assert not await emptied(roots, str(other), path)
        own = resolved(path)
        own.rmdir()
        assert not await emptied(roots, path, str(other))
        own.symlink_to(other)
        assert not await emptied(roots, path, str(other))
        assert not await roots.empty(str(other), 2**22)
    assert (other / "file").exists()


async def test_what_is_empty_is_removed_after_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run that ends when no thread removes anything any more leaves no directory, if there is nothing in it."""
    removals = Removals()
    await removals.close()
    directories = WorkingDirectories([], tmp_path, removals)
    async with directories.enter(None) as path, directories.enter(None) as other:
        resolved(other).rmdir()
    assert not is_there(path)
    assert caplog.messages == []


async def test_without_scratch_the_run_does_not_start(tmp_path: Path) -> None:
    """A scratch directory that has gone since the start is a run that could not be started, with the reason."""
    directories = WorkingDirectories([], tmp_path / CANARY)
    with pytest.raises(ChildStartError) as caught:
        async with directories.enter(None):
            pass
    assert str(caught.value) == f"no working directory can be made: {os.strerror(2)}"


async def test_without_a_descriptor_the_run_does_not_start(tmp_path: Path) -> None:
    """A responder that cannot open a directory it has just made leaves none behind."""
    directories = WorkingDirectories([], tmp_path)
    with no_more_descriptors(0), pytest.raises(ChildStartError, match="Too many open files"):
        async with directories.enter(None):
            pass
    assert names(tmp_path) == []


RUNS = """
import asyncio, sys
from pathlib import Path
from responder.working_directory import WorkingDirectories

async def main():
    directories = WorkingDirectories([], Path(sys.argv[1]))
    async with directories.enter(None) as path:
        (Path(path) / "file").touch()
        print(path, flush=True)
        sys.stdin.read()
    await directories.close()

asyncio.run(main())
"""


@contextlib.contextmanager
def other_responder(scratch: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Have another process with a run in a fresh directory; gives both."""
    command = [sys.executable, "-c", RUNS, str(scratch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


async def test_what_a_killed_responder_left_is_removed(tmp_path: Path) -> None:
    """The next responder removes the directories of one that was killed, and none of a live one."""
    with other_responder(tmp_path) as (process, dead):
        process.send_signal(signal.SIGKILL)
    live, starting = WorkingDirectories([], tmp_path), WorkingDirectories([], tmp_path)
    async with live.enter(None) as path, starting.enter(None) as own:
        (Path(path) / "file").touch()
        assert is_there(f"{dead}/file")
        starting.remove_leftovers()
        await starting.close()
        assert not is_there(str(dead))
        assert is_there(f"{path}/file")
        assert is_there(own)


async def test_a_live_responder_in_another_process_keeps_its_directories(tmp_path: Path) -> None:
    """A run of another responder on this host is not disturbed by one that starts."""
    with other_responder(tmp_path) as (process, path):
        starting = WorkingDirectories([], tmp_path)
        starting.remove_leftovers()
        await starting.close()
        assert is_there(f"{path}/file")
    assert process.returncode == 0
    assert names(tmp_path) == []


async def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    """What has another name, is a link, or is another user's, stays."""
    kept = [tmp_path / name for name in ("claude-responder-run-notes", "run", "xclaude-responder-run-abcd1234")]
    for path in kept:
        path.mkdir()
        (path / "file").touch()
    link = tmp_path / "claude-responder-run-abcd1234"
    link.symlink_to(kept[0])
    if os.geteuid() == 0:
        kept.append(tmp_path / "claude-responder-run-theirs00")
        kept[-1].mkdir()
        os.chown(kept[-1], 65534, 65534)
    directories = WorkingDirectories([], tmp_path)
    directories.remove_leftovers()
    await directories.close()
    assert names(tmp_path) == sorted(path.name for path in (*kept, link))
    assert (kept[0] / "file").exists()


async def test_leftovers_that_cannot_be_looked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A scratch directory that has gone is said, and the responder starts."""
    directories = WorkingDirectories([], tmp_path / CANARY)
    directories.remove_leftovers()
    await directories.close()
    assert caplog.messages == [f"leftover working directories cannot be looked for: {os.strerror(2)}"]
