"""The pepper: the secret without which the digests of keys say nothing. Made once, and kept beside the database."""

from __future__ import annotations

import os
import secrets
import stat
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import ServerSettings

_FILE = "pepper"
_BYTES = 32


class PepperUnfit(Exception):
    """The pepper's file cannot be used. Says why and what to do; holds nothing of it."""


def pepper_of(server: ServerSettings, folder: Path) -> bytes:
    """The configured one, else the one in this folder. Raises PepperUnfit."""
    return server.pepper.reveal().encode() if server.pepper else load_pepper(folder)


def load_pepper(folder: Path) -> bytes:
    """The pepper in this folder; made, with its folder, if there is none. Raises PepperUnfit."""
    path = folder / _FILE
    try:
        if not path.exists():
            _make(path)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise PepperUnfit(f"{path} can be read by others: chmod 600 it")
        pepper = path.read_bytes().strip()
    except OSError as error:
        raise PepperUnfit(f"{path} cannot be read or made ({error.strerror}): or name one with server.pepper") from None
    if len(pepper) < _BYTES:
        raise PepperUnfit(f"{path} holds less than {_BYTES} characters: put the one of before back, as keys need it")
    return pepper


def _make(path: Path) -> None:
    """Whole from the moment it is there, and never in place of another that came first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile(dir=path.parent, prefix=_FILE) as made:  # with mode 0600
        made.write(secrets.token_hex(_BYTES).encode())
        made.flush()
        os.fsync(made.fileno())
        try:
            path.hardlink_to(made.name)
        except FileExistsError:
            return
