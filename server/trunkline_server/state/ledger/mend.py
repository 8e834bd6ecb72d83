"""What a database cannot hold, made so that it can. A row with a character less is better than none."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct, structs

T = TypeVar("T", bound=Struct)
# More than anything can cost or use, and little enough for sums of it to fit in 64 bits.
_MOST = 2**53


def mended(entry: T) -> T:
    """The entry without NUL characters and halves of surrogate pairs, and with numbers that can be added up."""
    whole: T = _mend(entry)
    return whole


def _mend(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "").encode(errors="replace").decode()
        case int() if not isinstance(value, bool):
            return max(-_MOST, min(value, _MOST))
        case dict():
            return {_mend(key): _mend(item) for key, item in value.items()}
        case Struct():
            return structs.replace(value, **{name: _mend(item) for name, item in structs.asdict(value).items()})
    return value
