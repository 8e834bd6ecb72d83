"""The gateway that is killed: `python -m crash.gateway CONFIGURATION FOLDER [FAILPOINT]`."""

from __future__ import annotations

import sys
from pathlib import Path

from crash.failpoints import AT_START, FAILPOINTS, arm

from trunkline_server import config
from trunkline_server.cli.gateway import serve_until_signalled
from trunkline_server.state.ledger import journal


def main() -> None:
    path, name = Path(sys.argv[1]), " ".join(sys.argv[2:])
    # Small, so that a short run comes to the end of one.
    journal.FILE_SIZE = 8 << 10
    journal.Journal.__init__.__defaults__ = (journal.FILE_SIZE,)
    if name:
        arm({**FAILPOINTS, **AT_START}[name])
    serve_until_signalled(config.load(path))


if __name__ == "__main__":
    main()
