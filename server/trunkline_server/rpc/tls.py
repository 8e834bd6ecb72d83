"""TLS for the server: its certificate, and those of callers where they must have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from trunkline_server.state.certificates import Certificates, Pems


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Credentials that look at the files at each handshake, so that new certificates need no restart.

    With a client_ca no connection is made without a certificate that it vouches for.
    """

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        pems = certificates.changed()
        return None if pems is None else _configuration(pems)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificates.pems),
        fetch,  # type: ignore[arg-type]  # None, which the types forget: as before
        require_client_authentication=certificates.pems.client_ca is not None,
    )


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.cert)], pems.client_ca)
