"""Publish the wire as JSON Schema: `python -m contract.schema docs/schema` writes it, `--check` finds drift."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contract.health import HealthReply, HealthRequest
from contract.reply import ExecuteFailure, ExecuteSuccess
from contract.request import ExecuteRequest

MODELS: dict[str, type[BaseModel]] = {
    "execute-request": ExecuteRequest,
    "execute-success": ExecuteSuccess,
    "execute-failure": ExecuteFailure,
    "health-request": HealthRequest,
    "health-reply": HealthReply,
}


def schema_text(model: type[BaseModel]) -> str:
    """Give one model's JSON Schema (draft 2020-12) as the text of its file."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(by_alias=True, mode="validation"),
    }
    if model is ExecuteRequest:
        # The alias is accepted, one of the two: pydantic shows only the first name.
        schema["properties"]["timeout"] = {**schema["properties"]["timeout_ms"], "description": "alias of timeout_ms"}
        schema["not"] = {"required": ["timeout", "timeout_ms"]}
    if "success" in schema["properties"]:
        # It has a default for us, who write it, and tells the reader which of the two shapes it is.
        schema["required"] = sorted({*schema["required"], "success"})
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def stale_files(folder: Path) -> list[Path]:
    """Give the schema files that do not say what the models say."""
    paths = {folder / f"{name}.json": schema_text(model) for name, model in MODELS.items()}
    return [path for path, text in paths.items() if not path.exists() or path.read_text() != text]


def main(argv: list[str]) -> int:
    """Write the files into the folder named last, or with `--check` only name those that differ."""
    folder = Path(argv[-1])
    stale = stale_files(folder)
    if "--check" in argv:
        for path in stale:
            sys.stderr.write(f"{path} is out of date: run python -m contract.schema {folder}\n")
        return 1 if stale else 0
    for name, model in MODELS.items():
        (folder / f"{name}.json").write_text(schema_text(model))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
