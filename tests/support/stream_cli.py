"""Executables that stand in for a CLI that is started ahead, where its own behaviour is not the point."""

from pathlib import Path

from tests.responder.shell import PRELUDE
from tests.support.fake_cli import RESULT

_TOTALS = '"duration_api_ms":%s,"total_cost_usd":0.%s,"modelUsage":{"m":{"inputTokens":%s,"costUSD":0.%s,"window":9}}'
_PRICED = f"{RESULT[:-1]},{_TOTALS}}}"
_CLEARED = RESULT.replace('"%s"', '""').replace('"s"', '"cleared-%s"').replace(":1}", f":0,{_TOTALS}}}")
_PRELUDE = f"""
ready() {{ echo '{{"type":"control_response","response":{{"subtype":"success","request_id":"ready"}}}}'; }}
init() {{ [ "$form" = json ] || echo '{{"type":"system","subtype":"init","tools":[]}}'; }}
assistant() {{ [ "$form" = json ] || echo '{{"type":"assistant","message":{{"content":[]}}}}'; }}
result() {{ printf '{RESULT}\\n' "$1"; }}
answer() {{ init; assistant; result "$1"; }}
used=0
priced() {{ used=$((used+$2)); printf '{_PRICED}\\n' "$1" $((10*used)) $used $used $used; }}
cleared() {{ printf '{_CLEARED}\\n' $$ $((10*used)) $used $used $used; }}
form=$3
"""


def stream_cli(
    folder: Path,
    on_user: str = "answer hello",
    *,
    at_start: str = "",
    on_control: str = "ready",
    on_clear: str = "cleared",
    name: str = "claude",
) -> Path:
    """Write a shell script that reads stream-json where it is told to, else its prompt.

    `init`, `assistant`, `result TEXT` and `answer TEXT`, which is all three, print the events; of these a cold script
    prints the result alone unless it is asked for a stream. `ready` answers a control request. `priced TEXT N` is a
    result after which it has used N tenths of a dollar more, 9 in all at most, and `cleared` is that of `/clear`.

    Args:
        folder: Where.
        on_user: What it does with a prompt, which is the line `$line`.
        at_start: What it does before it reads anything; not when it is started cold.
        on_control: What it does with a control request.
        on_clear: What it does with `/clear`.
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
    *'"content": "/clear"'*)
      {on_clear} ;;
    *)
      {on_user} ;;
  esac
done
""")
    path.chmod(0o755)
    return path
