"""The deployment's files, read for tests."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
STUB_COMPOSE = ROOT / "deploy" / "stub.compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
NATS_CONFIG = ROOT / "deploy" / "nats" / "nats.conf"

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML with compose's merge tags, of which only the value matters here."""


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Loader.add_constructor("!override", _plain)


def read_compose(path: Path) -> dict[str, Any]:
    """Give a compose file's content, anchors and merges resolved, variables not."""
    document = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 # a SafeLoader with one more tag
    assert isinstance(document, dict)
    return document


def services(path: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    """Give a compose file's services by name."""
    found: dict[str, dict[str, Any]] = read_compose(path)["services"]
    return found


def environment(service: dict[str, Any]) -> dict[str, str | None]:
    """Give a service's environment; None means passed on from the host."""
    pairs = (str(entry).partition("=") for entry in service.get("environment", []))
    return {name: value if equals else None for name, equals, value in pairs}


def with_defaults(text: str) -> str:
    """Give a text with each variable replaced by its default."""
    return _VARIABLE.sub(r"\1", text)


def in_bytes(text: str) -> int:
    """Give a size as compose and tmpfs write it, such as 512m, in bytes."""
    return int(text[:-1]) * _UNITS[text[-1]]


def in_seconds(text: str) -> float:
    """Give a duration as compose writes it, such as 2m20s, in seconds."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", text)
    assert "".join(number + unit for number, unit in parts) == text
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def tmpfs_mounts(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Give a service's temporary file systems: their options by directory."""
    mounts = (str(entry).partition(":") for entry in service.get("tmpfs", []))
    return {
        directory: {name: value for name, _, value in (option.partition("=") for option in options.split(","))}
        for directory, _, options in mounts
    }


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile.

    Attributes:
        image: What it is built from, default arguments filled in.
        name: Its name; empty for the last one.
        instructions: Keyword and text of each, continued lines joined, comments left out.
    """

    image: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def texts(self, keyword: str) -> list[str]:
        """Give the texts of all instructions with this keyword."""
        return [text for word, text in self.instructions if word == keyword]

    def argument(self, name: str) -> str:
        """Give the default of a build argument."""
        (found,) = (text.removeprefix(f"{name}=") for text in self.texts("ARG") if text.startswith(f"{name}="))
        return found


def stages() -> list[Stage]:
    """Give the Dockerfile's stages in their order."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text()))
    instructions = [
        (word, text.strip()) for word, _, text in (line.partition(" ") for line in joined.splitlines() if line)
    ]
    starts = [place for place, (word, _) in enumerate(instructions) if word == "FROM"]
    defaults = dict(text.split("=") for word, text in instructions[: starts[0]] if word == "ARG")
    return [
        _stage(instructions[start:end], defaults)
        for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True)
    ]


def _stage(instructions: list[tuple[str, str]], defaults: dict[str, str]) -> Stage:
    image, _, name = instructions[0][1].partition(" AS ")
    for variable, value in defaults.items():
        image = image.replace(f"${{{variable}}}", value)
    return Stage(image, name, tuple(instructions[1:]))
