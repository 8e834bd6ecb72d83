"""`make clients`: every language's client against a real gateway, case by case; then all of them at once."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from matrix import programs
from matrix.cases import EXPECTED
from matrix.house import closings, house
from matrix.load import load
from matrix.readme import OTHERS, follow
from matrix.verdicts import EMPTY, Verdicts, judge, milliseconds, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[*programs.TOOLCHAINS, *OTHERS], help="languages")
    parser.add_argument("--seconds", type=float, default=10, help="how long all of them call at once; 0: not at all")
    parser.add_argument("--strict", action="store_true", help="a language that is skipped is a failure")
    given = parser.parse_args()
    sys.exit(asyncio.run(_main(given.only, given.seconds, strict=given.strict)))


async def _main(languages: list[str], seconds: float, *, strict: bool) -> int:
    ours = [language for language in languages if language not in OTHERS]
    skipped = {language: why for language in ours if (why := programs.missing(language))}
    here = [language for language in ours if language not in skipped]
    verdicts = {language: await try_out(language) | await _follow(language) for language in here}
    if ours:
        print(table(verdicts, skipped), flush=True)
    wrong = [why for told in verdicts.values() for why in told.values() if why]
    wrong += skipped.values() if strict else ()
    wrong += [why for language in languages if language in OTHERS and (why := await _other(language))]
    if seconds and here:
        wrong += await load(here, seconds)
    return bool(wrong)


async def _other(language: str) -> str:
    """A language without a client of ours."""
    if shutil.which(OTHERS[language]) is None:
        print(f"skipped: {language}: {OTHERS[language]} is not installed", flush=True)
        return ""
    why = await follow(language)
    print(f"{language}, from the descriptor set: {why or 'pass'}", flush=True)
    return why


async def _follow(language: str) -> Verdicts:
    print(f"{language}: following the README in an empty folder", flush=True)
    return {EMPTY: await follow(language)}


async def try_out(language: str) -> Verdicts:
    """Build the language's client and run its cases against a gateway of its own."""
    print(f"{language}: building", flush=True)
    if failure := await programs.build(language):
        return dict.fromkeys(EXPECTED, f"not built: {failure}")
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder)) as at:
            print(f"{language}: running", flush=True)
            said = await programs.run(language, at.environment)
            closed = await closings(at.slow, "cancel me", limit=1.0)
    print(f"{language}: cancelled at the upstream after {milliseconds(closed)}", flush=True)
    return judge(said, closed)


if __name__ == "__main__":
    main()
