"""Certificates for a machine that has none: the front's, and Vault's in production.

The key decision: a certificate authority of this installation signs them, and its key is thrown away at once. So there
is one file for clients to trust, and nobody can make a certificate for another name with what lies here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 397  # browsers take no more
RENEW_DAYS = 60
_CLOCKS = timedelta(hours=1)


@dataclass(frozen=True)
class Certificate:
    """As PEM: the authority's certificate, the server's, and the server's key."""

    authority: str
    certificate: str
    key: str


def make_certificate(names: tuple[str, ...]) -> Certificate:
    """A certificate for these names and addresses, good for 397 days."""
    begin = datetime.now(UTC) - _CLOCKS
    end = begin + timedelta(days=DAYS)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Vocero, this installation")
    authority = (
        _builder(authority_name, authority_name, authority_key, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), authority_name, key, begin, end)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Certificate(
        authority=_pem(authority),
        certificate=_pem(certificate) + _pem(authority),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def is_good(certificate: str, names: tuple[str, ...]) -> bool:
    """Tell whether one of ours is for these names and will be for some weeks."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    same = list(alternatives) == [_general_name(name) for name in names]
    return same and found.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)


def why_not(certificate: str, key: str) -> str | None:
    """What is wrong with a certificate (with its chain) and a key that somebody gave; None: nothing."""
    try:
        found = x509.load_pem_x509_certificates(certificate.encode())[0]
        given = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, IndexError):
        return "one of them is no PEM, or the key needs a password"
    if found.public_key() != given.public_key():
        return "the key is not that of the first certificate"
    if found.not_valid_after_utc < datetime.now(UTC):
        return f"the certificate ended on {found.not_valid_after_utc:%Y-%m-%d}"
    return None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
