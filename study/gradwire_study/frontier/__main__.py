"""One arm in a process of its own: arm and data as JSON in its arguments, the row as JSON on standard output."""

import json
import os
import sys
import threading
from pathlib import Path

FAILED = 1


def main() -> int:
    """Run the arm. An error is one line on standard error."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from gradwire_common.errors import GradwireError  # torch and all else, which takes a while
    from gradwire_study.frontier.arm import Arm
    from gradwire_study.frontier.simulation import simulate

    told = json.loads(sys.argv[1])
    try:
        row = simulate(Arm.of(told["arm"]), told["data"] and Path(told["data"]))
    except GradwireError as error:
        print(error, file=sys.stderr)
        return FAILED
    print(row.model_dump_json())
    return 0


def _end_with_parent() -> None:
    """End once nobody holds the other end of standard input any more."""
    while os.read(sys.stdin.fileno(), 1):  # past the buffer, whose lock would hold up the end of this process
        pass
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main())
