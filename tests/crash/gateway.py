"""The gateway that is killed: `python -m crash.gateway CONFIGURATION FOLDER [FAILPOINT]`."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from crash.check import ROLLED_AFTER
from crash.failpoints import ALL, arm

from trunkline_server import config
from trunkline_server.cli.gateway import serve_until_signalled
from trunkline_server.state.budgets.accounts import Payer, Payment, Rules
from trunkline_server.state.ledger import journal

# Microseconds.
DAY = 86_400_000_000


def main() -> None:
    path, calendar, name = Path(sys.argv[1]), sys.argv[2], " ".join(sys.argv[3:])
    if calendar != "today":
        turn_to_tomorrow(0 if calendar == "tomorrow" else ROLLED_AFTER)
    # Small, so that a short run comes to the end of one.
    journal.FILE_SIZE = 8 << 10
    journal.Journal.__init__.__defaults__ = (journal.FILE_SIZE,)
    if name:
        arm(ALL[name])
    serve_until_signalled(config.load(path))


def turn_to_tomorrow(after: int) -> None:
    """For budgets the next day begins after so many attempts."""
    payment, attempts = Rules.payment, count()

    def on_that_day(rules: Rules, payer: Payer, now: int) -> Payment:
        return payment(rules, payer, now + DAY if next(attempts) >= after else now)

    Rules.payment = on_that_day  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
