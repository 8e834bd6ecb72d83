"""What makes the configuration of the doors right: who gets in, and over what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.config.check import Problem, did_you_mean, is_address, join
from trunkline_server.settings import TlsSettings
from trunkline_server.state.certificates import CertificatesUnfit, read_pems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.settings import Settings

LEAST_PEPPER = 32
_ALLOWED = "or, where the network is trusted, server.insecure with"


def door_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """Everything that is wrong with them. Beyond this machine it takes keys and TLS, or the word that it does not."""
    server = settings.server
    tls = server.tls or TlsSettings(cert="", key="")
    if is_address(server.listen) and not server.is_local:
        if server.auth == "none" and not tls.client_ca and "no_keys" not in server.insecure:
            yield Problem("server.auth", f"keys: others can reach {server.listen} ({_ALLOWED} no_keys)")
        if server.tls is None and "no_tls" not in server.insecure:
            yield Problem("server.tls", f"cert and key: others can reach {server.listen} ({_ALLOWED} no_tls)")
    if tls.clients and not tls.client_ca:
        yield Problem("server.tls.client_ca", "who vouches for the certificates of server.tls.clients")
    yield from _unknown_providers(tls, settings)
    if tls.clients and server.auth == "none":
        yield Problem("server.auth", "keys or auto: with none server.tls.clients would mean nothing")
    if server.tls is not None:
        try:
            read_pems(server.tls)
        except CertificatesUnfit as unfit:
            yield Problem(f"server.tls.{unfit.setting}", unfit.expected)
    if server.pepper is not None and len(server.pepper.reveal()) < LEAST_PEPPER:
        yield Problem("server.pepper", f"at least {LEAST_PEPPER} characters that nobody can guess")


def _unknown_providers(tls: TlsSettings, settings: Settings) -> Iterator[Problem]:
    for who, client in tls.clients.items():
        for index, name in enumerate(client.providers):
            if name not in settings.providers:
                place = f"{join('server.tls.clients', who)}.providers[{index}]"
                yield Problem(place, "a configured provider" + did_you_mean(name, settings.providers))
