"""The gateway's certificate and those who vouch for its callers': files that may be replaced while it runs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.logs import Log
    from trunkline_server.settings import TlsSettings


class CertificatesUnfit(Exception):
    """Files that TLS cannot use: which setting, and what would be right. Holds nothing of the files."""

    def __init__(self, setting: str, expected: str) -> None:
        super().__init__(f"{setting}: expected {expected}")
        self.setting = setting
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Pems:
    """What the files hold."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


def read_pems(settings: TlsSettings) -> Pems:
    """The files, once they fit together. Raises CertificatesUnfit."""
    texts = {name: _read(name, path) for name, path in _paths(settings)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password of none: otherwise a key that has one would be asked for on the terminal.
        context.load_cert_chain(_path(settings.cert), _path(settings.key), password=b"")
    except (ssl.SSLError, ValueError, OSError):
        raise CertificatesUnfit(
            "cert", "a certificate chain in PEM, and key to be its key without a password"
        ) from None
    if settings.client_ca:
        try:
            context.load_verify_locations(_path(settings.client_ca))
        except (ssl.SSLError, OSError):
            raise CertificatesUnfit("client_ca", "certificates in PEM") from None
    return Pems(texts["cert"], texts["key"], texts.get("client_ca"))


class Certificates:
    """The files as they are now. Asked at every handshake; files that do not fit leave what was there before."""

    def __init__(self, settings: TlsSettings, log: Log) -> None:
        """Raises CertificatesUnfit."""
        self._settings = settings
        self._log = log
        self._stamps = self._look()
        self.pems = read_pems(settings)

    def changed(self) -> Pems | None:
        """What is new since the last time, if that can be used. Safe on any thread."""
        stamps = self._look()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            pems = read_pems(self._settings)
        except CertificatesUnfit as unfit:
            self._log.error("certificates_unfit", setting=f"server.tls.{unfit.setting}", expected=unfit.expected)
            return None
        if pems == self.pems:
            return None
        self.pems = pems
        self._log.info("certificates_reloaded")
        return pems

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(Path(path)) for _, path in _paths(self._settings)]


def _paths(settings: TlsSettings) -> Iterator[tuple[str, str]]:
    for name in ("cert", "key", "client_ca"):
        if reference := getattr(settings, name):
            yield name, _path(reference)


def _path(reference: str) -> str:
    return reference.removeprefix("file:")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes with the file. Links are followed: that is how Kubernetes replaces files."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificatesUnfit(name, f"{path} to be readable: {error.strerror}") from None
