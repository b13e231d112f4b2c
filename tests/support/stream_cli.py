"""Executables that stand in for a CLI that is started ahead, where its own behaviour is not the point."""

from pathlib import Path

from tests.responder.shell import PRELUDE
from tests.support.fake_cli import RESULT

_PRELUDE = f"""
ready() {{ echo '{{"type":"control_response","response":{{"subtype":"success","request_id":"ready"}}}}'; }}
init() {{ [ "$form" = json ] || echo '{{"type":"system","subtype":"init","tools":[]}}'; }}
assistant() {{ [ "$form" = json ] || echo '{{"type":"assistant","message":{{"content":[]}}}}'; }}
result() {{ printf '{RESULT}\\n' "$1"; }}
answer() {{ init; assistant; result "$1"; }}
form=$3
"""


def stream_cli(
    folder: Path, on_user: str = "answer hello", *, at_start: str = "", on_control: str = "ready", name: str = "claude"
) -> Path:
    """Write a shell script that reads stream-json where it is told to, else its prompt.

    `init`, `assistant`, `result TEXT` and `answer TEXT`, which is all three, print the events; of these a cold script
    prints the result alone unless it is asked for a stream. `ready` answers a control request.

    Args:
        folder: Where.
        on_user: What it does with a prompt, which is the line `$line`.
        at_start: What it does before it reads anything; not when it is started cold.
        on_control: What it does with a control request.
        name: Of the file.
    """
    path = folder / name
    path.write_text(f"""#!/bin/sh
{PRELUDE}
{_PRELUDE}
case " $* " in
  *" --input-format "*) ;;
  *)
    line=$(cat)
    {on_user}
    exit ;;
esac
{at_start}
while read -r line; do
  case "$line" in
    '{{"type": "control_request"'*)
      {on_control} ;;
    *)
      {on_user} ;;
  esac
done
""")
    path.chmod(0o755)
    return path
