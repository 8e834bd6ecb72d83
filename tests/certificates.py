"""Certificates for tests: an authority of their own, a gateway's certificate and those of callers, as files."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Authority:
    """Vouches for certificates, and writes them into a folder."""

    ca: trustme.CA
    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Authority:
        authority = cls(trustme.CA(), folder)
        authority.ca.cert_pem.write_to_path(folder / "ca.pem")
        authority.write("server", "localhost", "127.0.0.1")
        return authority

    def write(self, name: str, *names: str) -> bytes:
        """Write name.pem and name.key of a new certificate for these host names; the certificate."""
        issued = self.ca.issue_cert(*names)
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        (self.folder / f"{name}.pem").write_bytes(chain)
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")
        return chain

    def write_uri(self, name: str, uri: str) -> None:
        """The same for a URI, as SPIFFE names workloads."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - YEAR)
            .not_valid_after(now + YEAR)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
            .sign(signer, hashes.SHA256())
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))

    def server(self, **more: Any) -> dict[str, Any]:
        """server.tls of the configuration."""
        return {"cert": f"file:{self.folder}/server.pem", "key": f"file:{self.folder}/server.key", **more}

    def asking_callers(self, clients: dict[str, Any] | None = None) -> dict[str, Any]:
        """The same with certificates of callers, who are named like this."""
        return self.server(client_ca=f"file:{self.folder}/ca.pem", clients=clients or {})

    def credentials(self, name: str = "") -> grpc.ChannelCredentials:
        """What a caller connects with; with a certificate if it has a name."""
        ca = (self.folder / "ca.pem").read_bytes()
        if not name:
            return grpc.ssl_channel_credentials(ca)
        key, chain = ((self.folder / f"{name}.{kind}").read_bytes() for kind in ("key", "pem"))
        return grpc.ssl_channel_credentials(ca, key, chain)
