"""What the package's modules may import and read."""

import ast
from pathlib import Path

import pytest

import requester
from tests.requester.programs import run_script

MODULES = sorted(Path(requester.__file__).parent.glob("*.py"))


def imports(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def importers(name: str) -> set[str]:
    return {module.name for module in MODULES if name in imports(module)}


def test_one_module_for_each_thing() -> None:
    """One module imports nats-py, one reads the environment, and only the command has what a command needs."""
    assert importers("nats") == {"link.py"}
    assert importers("typer") == importers("rich") == importers("telemetry") == {"command.py"}
    assert importers("responder") == importers("aiohttp") == set()
    reads = {module.name for module in MODULES if "os.environ" in module.read_text() or "getenv" in module.read_text()}
    assert reads == {"settings.py"}


@pytest.mark.parametrize(
    "module", ["errors", "exit_codes", "inbox", "refusals", "reply", "request", "retry"], ids=lambda name: name
)
def test_pure_modules_do_no_io(module: str) -> None:
    """The pure modules import neither the network nor the clock nor the environment."""
    [path] = [path for path in MODULES if path.stem == module]
    assert not imports(path) & {"nats", "os", "time", "socket", "threading", "logging", "random", "opentelemetry"}


async def test_importing_is_light() -> None:
    """Importing the library loads nothing that only the command, the responder or an exporter needs."""
    # aiohttp is absent here as it is in a plain installation: nats-py imports it wherever it finds it.
    script = """
        import sys
        sys.modules["aiohttp"] = None
        import requester
        heavy = ("typer", "rich", "opentelemetry.sdk", "opentelemetry.exporter", "telemetry", "responder")
        print([name for name in sys.modules if name.startswith(heavy)])
    """
    outcome = await run_script(script)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "[]\n", "")


def test_what_is_public_is_sorted_and_there() -> None:
    """Every public name exists, and there are no others to depend on by accident."""
    assert all(hasattr(requester, name) for name in requester.__all__)
