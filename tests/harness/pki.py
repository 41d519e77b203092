"""Keys and certificates for a control plane that lives as long as a test run; no openssl needed."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=1)
_NEW = datetime.timedelta()


@dataclass(frozen=True)
class KeyPair:
    """Files with a private key and a certificate, in PEM."""

    key: Path
    certificate: Path


class Authority:
    """A certificate authority of its own, with its files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gitpulse-tests")])
        certificate = (
            _certificate(self._name, self._name, self._key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def server(
        self, name: str, *, host: str = "localhost", address: str = "127.0.0.1", age: datetime.timedelta = _NEW
    ) -> KeyPair:
        """A certificate for a server on loopback, or for another; it was issued so long ago, and lives for a day."""
        addresses = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))])
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        return self._issue(name, subject, addresses, ExtendedKeyUsageOID.SERVER_AUTH, age)

    def client(self, name: str, group: str) -> KeyPair:
        """A certificate with which Kubernetes takes its owner for this user, member of this group."""
        subject = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
        return self._issue(name, subject, None, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        name: str,
        subject: list[x509.NameAttribute[str]],
        addresses: x509.SubjectAlternativeName | None,
        usage: x509.ObjectIdentifier,
        age: datetime.timedelta = _NEW,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(x509.Name(subject), self._name, key.public_key(), self._key.public_key(), age)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if addresses:
            builder = builder.add_extension(addresses, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return KeyPair(_write_key(self._folder / f"{name}.key", key), _write(self._folder / f"{name}.crt", certificate))


def signing_key(path: Path) -> Path:
    """A key to sign ServiceAccount tokens with."""
    return _write_key(path, ec.generate_private_key(ec.SECP256R1()))


_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    age: datetime.timedelta = _NEW,
) -> x509.CertificateBuilder:
    """With the identifiers of both keys, without which Python 3.13 trusts no certificate."""
    now = datetime.datetime.now(datetime.UTC) - age
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return _write(path, pem)


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
