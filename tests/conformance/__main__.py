"""`make conformance`: what is proven of each provider, from recorded exchanges.

    python -m conformance [FOLDER] [--dump FILE] [--list] [--live]

FOLDER has a JSON file for each exchange, in a folder of each provider's; without it, it is ../shared/corpus, beside
the checkout, and is held to cells.toml. The exit code is 1 if something is misread or has become worse.
With --live the servers of others are asked for what cells.toml says that they prove; they need no network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.dump import line_of
from conformance.exchanges import Exchange, NotAnExchange, exchanges
from conformance.expectations import expectations, lost, misread, said_otherwise, unlisted
from conformance.live import failures_of_others
from conformance.table import FEATURES, PASS, Result, print_table, result_of, table_of
from others.servers import missing

from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.table import Table

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance", description="What is proven of each provider.")
    parser.add_argument("folder", nargs="?", type=Path, help="recorded exchanges (default: ../shared/corpus)")
    parser.add_argument("--dump", type=Path, metavar="FILE", help="write what was decoded and encoded, a line for each")
    parser.add_argument("--list", action="store_true", help="print the passing cells as cells.toml has them")
    parser.add_argument("--live", action="store_true", help="ask the servers of others, too (make .tools/others)")
    options = parser.parse_args(arguments)
    disproved = [*failures_of_others()] if options.live else []
    folder = options.folder or CORPUS
    if not folder.is_dir():
        print(
            f"There are no recorded exchanges: no folder {options.folder or '../shared/corpus'}. Nothing was checked."
        )
        return int(options.folder is not None or _print_failures(disproved))
    try:
        every = [*exchanges(folder)]
    except NotAnExchange as reason:
        return _print_failures([*disproved, f"not of the corpus's schema: {reason}"])
    results = [result_of(exchange) for exchange in every if exchange.dialect]
    if options.dump:
        options.dump.write_text("".join(json.dumps(line_of(result)) + "\n" for result in results))
    code = report(every, results, is_default=options.folder is None, list_passing=options.list)
    return int(_print_failures(disproved) or code)


def report(every: list[Exchange], results: list[Result], *, is_default: bool, list_passing: bool) -> int:
    """Print all there is to say. Returns the exit code."""
    expected = expectations()
    table = table_of(
        results,
        expected.claims(lambda server: not missing(server)),
        [name for name, row in ROWS.items() if row.dialect],
    )
    print_table(table)
    _print_counts(every, results)
    if list_passing:
        _print_passing(table)
    failures = [*misread(results), *said_otherwise(results, expected)]
    if is_default:
        failures += [*unlisted(results, expected), *lost(table, expected)]
    return _print_failures(failures)


def _print_failures(failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"FAIL {failure}")
    return int(bool(failures))


def _print_counts(every: list[Exchange], results: list[Result]) -> None:
    decoded = Counter("answer" if r.decoded.response else "error" for r in results if not r.decoded.fault)
    again = [result.again for result in results]
    same = sum(each.body is not None and not each.differs for each in again)
    warned = sum(bool(each.differs and each.warned) for each in again)
    skipped = Counter(each.skipped.partition(": ")[0] for each in again if each.skipped)
    outside = Counter(exchange.api for exchange in every if not exchange.dialect)
    print(f"answers: {decoded['answer']} decoded, {decoded['error']} typed errors, of {len(results)} exchanges")
    print(f"requests: {same} the same when said again, {warned} otherwise and warned of, {_counts(skipped)}")
    print(f"out of scope: {_counts(outside)}")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counter.items())) or "none"


def _print_passing(table: Table) -> None:
    for provider, row in table.items():
        if cells := ", ".join(f'"{name}" = {row[name].shown}' for name in FEATURES if row[name].state == PASS):
            print(f"{provider} = {{ {cells} }}")


if __name__ == "__main__":
    sys.exit(main())
