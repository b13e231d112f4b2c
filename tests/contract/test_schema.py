"""The published JSON Schema: up to date, and of one mind with the models."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from contract.schema import MODELS, main, schema_text, stale_files

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema"
SUCCESS = {"success": True, "id": "a", "responder": "r", "result": "text"}
FAILURE = {"success": False, "responder": "r", "error": "e", "code": "c", "retryable": True, "executed": False}
HEALTH = {
    "status": "healthy",
    "responder": "r",
    "version": "1",
    "cli_available": True,
    "slots": 5,
    "in_flight": 0,
    "backlog": 0,
    "uptime_s": 0.5,
}
# What is accepted and what is refused, by the published schema and by the model alike.
ACCEPTED: list[tuple[str, Any]] = [
    ("execute-request", {"prompt": "p"}),
    ("execute-request", {"prompt": ""}),
    ("execute-request", {"prompt": "p", "timeout": 5}),
    ("execute-request", {"prompt": "p", "timeout_ms": 5}),
    ("execute-request", {"prompt": "p", "id": None, "args": None, "cwd": None}),
    ("execute-request", {"prompt": "p", "id": "A.b_c:d-9", "args": [], "cwd": ""}),
    ("execute-request", {"prompt": "p", "args": ["--model", "sonnet"]}),
    ("execute-request", {"prompt": "p", "reuse": True}),
    ("execute-request", {"prompt": "p", "reuse": False}),
    ("execute-success", SUCCESS),
    ("execute-success", {**SUCCESS, "usage": {"a": [1, {}]}, "cost_usd": 1, "num_turns": 1, "new": 1}),
    ("execute-success", {**SUCCESS, "usage": None, "session_id": None}),
    ("execute-failure", FAILURE),
    ("execute-failure", {**FAILURE, "id": None, "api_status": 429, "retry_after_ms": 0, "new": []}),
    ("health-request", {}),
    ("health-request", {"deep": True}),
    ("health-reply", HEALTH),
    ("health-reply", {**HEALTH, "status": "unhealthy", "reason": "r", "deep": False, "new": None}),
    ("health-reply", {**HEALTH, "standby": 2, "kept": 1}),
]
# Values that no key of a request takes, by key.
WRONG_VALUES: dict[str, list[Any]] = {
    "prompt": [None, 1, [], {}, True],
    "id": ["", "a b", "x" * 65, 7, "\u00e9"],
    "args": ["-p", [1], [None], {}, [["a"]]],
    "cwd": [1, [], {}],
    "timeout_ms": [0, -1, "5", 1.5, None, True],
    "timeout": [0, -1, "5", 1.5, None, True],
    "reuse": [0, 1, "true", None, []],
}
NO_REQUESTS: list[Any] = [{}, [], "p", None, 1, {"args": []}]
REFUSED: list[tuple[str, Any]] = [
    *(("execute-request", document) for document in NO_REQUESTS),
    *(("execute-request", {"prompt": "p", key: value}) for key, values in WRONG_VALUES.items() for value in values),
    ("execute-request", {"prompt": "p", "timeout": 5, "timeout_ms": 5}),
    ("execute-request", {"prompt": "p", "unknown": 1}),
    ("execute-success", {**SUCCESS, "success": False}),
    ("execute-success", {**SUCCESS, "result": None}),
    ("execute-success", {**SUCCESS, "usage": []}),
    ("execute-success", {**SUCCESS, "num_turns": 1.5}),
    *(("execute-success", {k: v for k, v in SUCCESS.items() if k != name}) for name in ("id", "responder", "result")),
    ("execute-failure", {**FAILURE, "success": True}),
    ("execute-failure", {**FAILURE, "retryable": None}),
    *(("execute-failure", {k: v for k, v in FAILURE.items() if k != name}) for name in FAILURE if name != "success"),
    ("health-request", {"deep": None}),
    ("health-request", {"deep": 7}),
    ("health-request", {"depe": True}),
    ("health-request", []),
    ("health-reply", {**HEALTH, "status": "fine"}),
    *(("health-reply", {k: v for k, v in HEALTH.items() if k != name}) for name in HEALTH),
]


def model_accepts(model: type[BaseModel], document: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError:
        return False
    return True


def published_accepts(name: str, document: Any) -> bool:
    schema = json.loads((PUBLISHED / f"{name}.json").read_text())
    return Draft202012Validator(schema).is_valid(document)


def test_the_published_schema_is_up_to_date() -> None:
    """docs/schema says what the models say; `make schema` writes it."""
    assert stale_files(PUBLISHED) == []


def test_every_published_file_has_a_model() -> None:
    """No file is left over in docs/schema from a model that is gone."""
    assert {path.stem for path in PUBLISHED.glob("*.json")} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_published_schema_is_one(name: str) -> None:
    """Each file is valid JSON Schema of the draft that it names."""
    schema = json.loads((PUBLISHED / f"{name}.json").read_text())
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("name", "document"), ACCEPTED)
def test_documents_that_both_accept(name: str, document: Any) -> None:
    """What the published schema accepts, the model reads."""
    assert published_accepts(name, document)
    assert model_accepts(MODELS[name], document)


@pytest.mark.parametrize(("name", "document"), REFUSED)
def test_documents_that_both_refuse(name: str, document: Any) -> None:
    """What the model refuses, the published schema refuses too."""
    assert not published_accepts(name, document)
    assert not model_accepts(MODELS[name], document)


def test_drift_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check names a missing file and a changed one, says how to write them, and fails."""
    assert main([str(tmp_path)]) == 0
    (tmp_path / "health-reply.json").unlink()
    (tmp_path / "execute-request.json").write_text("{}\n")
    assert main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "health-reply.json is out of date: run python -m contract.schema" in said
    assert "execute-request.json is out of date" in said
    assert "execute-success" not in said


def test_what_is_written_is_up_to_date(tmp_path: Path) -> None:
    """After a write the check has nothing to say."""
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.json" for name in MODELS}


def test_the_check_writes_nothing(tmp_path: Path) -> None:
    """A check leaves the folder as it was."""
    assert main(["--check", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_written_the_same_every_time(name: str) -> None:
    """The text of a schema is stable, so that a diff shows a change of the wire and nothing else."""
    text = schema_text(MODELS[name])
    assert text == schema_text(MODELS[name])
    assert text.endswith("}\n")
