"""What holds of a key now, against a model of it; how keys are written; the pepper."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from trunkline_server.state.identity.keys import (
    FOREVER,
    ApiKey,
    HeldSecret,
    digest_of,
    new_key_id,
    new_secret,
    read_key,
    valid_until,
    write_key,
)
from trunkline_server.state.identity.pepper import PepperUnfit, load_pepper

if TYPE_CHECKING:
    from pathlib import Path

KEY = ApiKey(id="k", name="k", workspace="w", role="caller", created=0, secret=HeldSecret("new"))
TIMES = st.integers(min_value=1, max_value=20)


def test_a_key_is_read_as_it_was_written() -> None:
    key_id, secret = new_key_id(), new_secret()
    assert read_key(write_key(key_id, secret)) == (key_id, secret)
    assert len({new_secret() for _ in range(1000)}) == 1000


def test_a_secret_has_256_bits() -> None:
    assert 62 ** len(new_secret()) >= 2**256


@pytest.mark.parametrize("wrong", ["", "tl_", "tl_a_b", "sk-123", "tl_000000000000_" + "x" * 42, "TL_" + "0" * 56])
def test_what_is_not_written_like_a_key_is_none(wrong: str) -> None:
    assert read_key(wrong) is None
    right = write_key("0" * 12, "x" * 43)
    for spoilt in (right + "\n", " " + right, right + "x", right.replace("_", "-")):
        assert read_key(spoilt) is None


def test_the_digest_depends_on_pepper_and_secret() -> None:
    assert len({digest_of(pepper, secret) for pepper in (b"a", b"b") for secret in ("x", "y")}) == 4


@given(
    presented=st.sampled_from(["new", "old", "older", ""]),
    previous=st.none() | TIMES,
    expires=st.none() | TIMES,
    revoked=st.none() | TIMES,
    now=TIMES,
)
def test_a_key_holds_as_long_as_it_should(
    presented: str, previous: int | None, expires: int | None, revoked: int | None, now: int
) -> None:
    old = HeldSecret("old", previous) if previous is not None else None
    key = structs.replace(KEY, previous=old, expires=expires, revoked=revoked)
    until = valid_until(key, presented, now)
    ends = [FOREVER]
    if expires is not None:
        ends.append(expires)
    if presented == "old":
        ends.append(previous or 0)
    right = presented in ("new", "old") and revoked is None and now < min(ends)
    assert until == (min(ends) if right else 0)
    assert valid_until(None, presented, now) == 0


def test_the_pepper_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    pepper = load_pepper(folder)
    assert len(pepper) == 64
    assert load_pepper(folder) == pepper
    assert stat.S_IMODE((folder / "pepper").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["pepper"]


@pytest.mark.parametrize(("text", "mode"), [("short", 0o600), ("x" * 64, 0o644)])
def test_a_pepper_that_is_weak_or_readable_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    (tmp_path / "pepper").write_text(text)
    (tmp_path / "pepper").chmod(mode)
    with pytest.raises(PepperUnfit) as raised:
        load_pepper(tmp_path)
    assert text not in str(raised.value)
