"""Starts that fail: each is told in words, and leaves nothing."""

import contextlib
import shutil
import signal
from pathlib import Path

import pytest

from responder.child import Child, ChildNotFoundError, ChildStartError
from tests.responder.limits import no_more_descriptors
from tests.responder.shell import ENV, children, open_descriptors, shell

pytestmark = pytest.mark.usefixtures("patience")
CANARY = "canary-5f1c9"


def refusal_of(*argv: str, cwd: str = "/", env: dict[str, str] | None = None) -> ChildStartError:
    descriptors, processes = open_descriptors(), children()
    with pytest.raises(ChildStartError) as caught:
        Child.start(argv, env=ENV if env is None else env, cwd=cwd, stdin=b"x" * 1_000_000)
    assert open_descriptors() == descriptors
    assert children() == processes
    assert CANARY not in str(caught.value)
    return caught.value


async def test_a_missing_executable(tmp_path: Path) -> None:
    """An executable that is not there is told apart from every other failure."""
    assert isinstance(refusal_of(str(tmp_path / CANARY)), ChildNotFoundError)
    assert isinstance(refusal_of(str(tmp_path / "a" / CANARY)), ChildNotFoundError)


async def test_a_dangling_link(tmp_path: Path) -> None:
    """A link that leads nowhere is no executable."""
    (tmp_path / CANARY).symlink_to(tmp_path / "nowhere")
    assert isinstance(refusal_of(str(tmp_path / CANARY)), ChildNotFoundError)


async def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    """A file without the right to execute it is no executable."""
    program = shell(tmp_path, "exit 0", CANARY)
    (tmp_path / CANARY).chmod(0o644)
    assert isinstance(refusal_of(program), ChildNotFoundError)


@pytest.mark.parametrize("make", ["missing", "file"])
async def test_a_working_directory_that_is_none(tmp_path: Path, make: str) -> None:
    """A directory that has gone, or is a file, is not mistaken for a missing executable."""
    path = tmp_path / CANARY
    if make == "file":
        path.touch()
    error = refusal_of("/bin/true", cwd=str(path))
    assert not isinstance(error, ChildNotFoundError)
    assert "director" in str(error)


async def test_an_argument_beyond_the_kernels_limit() -> None:
    """An argument that the kernel does not take is told in the system's words, without the argument."""
    assert str(refusal_of("/bin/true", CANARY * 20_000)) == "Argument list too long"


async def test_descriptors_run_out() -> None:
    """A start that fails for want of a descriptor, at whichever step, leaves none and no process."""
    before = open_descriptors(), children()
    refused = 0
    for left in range(15):
        child = None
        with no_more_descriptors(left), contextlib.suppress(ChildStartError):
            child = Child.start(["/bin/sleep", "300"], env=ENV, cwd="/", stdin=b"x")
        if child is not None:
            child.send_signal(signal.SIGKILL)
            await child.wait()
            child.close()
        refused += child is None
        assert (open_descriptors(), children()) == before, left
    assert 3 < refused < 15


async def test_a_child_needs_no_path() -> None:
    """A child's environment without a PATH does not keep it from being started."""
    child = Child.start(["/bin/true"], env={}, cwd="/", stdin=b"")
    assert await child.wait() == 0
    child.close()


async def test_an_interpreter_that_is_missing(tmp_path: Path) -> None:
    """A script whose interpreter is not there is told as an executable that is not there, as the kernel does."""
    (tmp_path / CANARY).write_text("#!/no/such/interpreter\n")
    (tmp_path / CANARY).chmod(0o755)
    assert isinstance(refusal_of(str(tmp_path / CANARY)), ChildNotFoundError)


@pytest.mark.parametrize("content", ["#!/etc/passwd\n", None])
async def test_what_cannot_be_executed(tmp_path: Path, content: str | None) -> None:
    """What only the kernel can refuse, a directory or what an interpreter's place has, is told in its words."""
    path = tmp_path / CANARY
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
        path.chmod(0o755)
    error = refusal_of(str(path))
    assert not isinstance(error, ChildNotFoundError)
    assert str(error) == "Permission denied"


async def test_a_program_that_is_being_written(tmp_path: Path) -> None:
    """A CLI that is just being replaced could not be started, and is not missing."""
    path = tmp_path / CANARY
    shutil.copy("/bin/true", path)
    with path.open("ab"):
        assert str(refusal_of(str(path))) == "Text file busy"
