"""What the layout promises: import directions, and the single places for NATS, processes and the environment."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import CODE_FACTS

ROOT = Path(__file__).parents[1]
PACKAGES = ("connection", "contract", "requester", "responder", "telemetry")
ALLOWED = {
    "connection": {"connection"},
    "contract": {"contract"},
    "requester": {"connection", "contract", "requester", "telemetry"},
    "responder": {"connection", "contract", "responder", "telemetry"},
    "telemetry": {"telemetry"},
}
PURE = (
    "contract",
    "requester/budget.py",
    "requester/exchange.py",
    "requester/retry.py",
    "requester/exit_codes.py",
    "requester/limits.py",
    "responder/arguments.py",
    "responder/attempt.py",
    "responder/backlog.py",
    "responder/demand.py",
    "responder/document.py",
    "responder/fitness.py",
    "responder/outcome.py",
    "responder/redaction.py",
    "responder/standby_arguments.py",
)
IO_MODULES = {"asyncio", "nats", "os", "pathlib", "socket", "subprocess", "aiohttp"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Give the top-level names of what a module imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def importing(package: str, name: str) -> set[str]:
    """Give the modules of a package that import something."""
    return {
        str(path.relative_to(ROOT))
        for path in modules(package)
        if any(module == name or module.startswith(f"{name}.") for module in imports(path))
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package: str) -> None:
    """The two sides never import each other, and nothing but the programs turns telemetry on."""
    for path in modules(package):
        ours = {module.split(".")[0] for module in imports(path)} & {*PACKAGES, "tests", "examples", "bench", "chaos"}
        assert ours <= ALLOWED[package], path
    assert importing("requester", "telemetry") | importing("responder", "telemetry") <= {
        "requester/command.py",
        "responder/command.py",
    }


def test_one_module_of_each_side_imports_nats() -> None:
    """NATS's client is known in two places, and mended for both in a third."""
    users = set().union(*(importing(package, "nats") for package in PACKAGES))
    assert users == {"connection/client.py", "requester/link.py", "responder/link.py"}


def test_one_module_starts_processes() -> None:
    """Processes are started in `responder/child.py` and nowhere else."""
    starts = re.compile(r"\bsubprocess\b|create_subprocess|os\.(fork|exec|spawn|posix_spawn|system|popen)")
    users = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        if any(starts.search(ast.unparse(node)) for node in ast.walk(ast.parse(path.read_text())) if is_code(node))
    }
    assert users == {"responder/child.py"}


def test_one_module_of_each_side_reads_the_environment() -> None:
    """The environment is read in the settings and handed on from there."""
    users = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        if re.search(r"os\.(environ|getenv)|from os import .*environ", path.read_text())
    }
    assert users - {"telemetry/__init__.py"} == {"requester/settings.py", "responder/settings.py"}


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_do_no_io(place: str) -> None:
    """What decides does not do: the pure modules import nothing that reads, writes or waits."""
    paths = modules(place) if (ROOT / place).is_dir() else [ROOT / place]
    for path in paths:
        if path.name == "schema.py":
            continue  # the command that writes docs/schema
        assert not {module.split(".")[0] for module in imports(path)} & IO_MODULES, path


def test_every_code_is_in_the_protocols_table() -> None:
    """The table of codes in the documentation is the table in the code."""
    protocol = (ROOT / "docs/protocol.md").read_text()
    words = {True: "yes", False: "no", None: "see reply"}
    for code, facts in CODE_FACTS.items():
        row = f"| `{code}` | {facts.number} | {words[facts.retryable]} | {words[facts.executed]} | {facts.meaning} |"
        assert row in protocol, row


def test_every_test_says_what_it_shows() -> None:
    """Each test has one sentence about the behaviour."""
    for path in modules("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


def is_code(node: ast.AST) -> bool:
    """Say whether a node is a call or an import: docstrings may speak of anything."""
    return isinstance(node, ast.Call | ast.Import | ast.ImportFrom)
