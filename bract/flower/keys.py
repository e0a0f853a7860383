"""Certificates and keys of a federation: `bract keys` makes them, `bract node` and `bract link` read them.

Nothing is overwritten, no private key has a reader but its owner, and a file that others may change is not used.
"""

import argparse
import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bract.errors import BractError, one_line
from bract.files import require_private
from bract.flower.roster import fingerprint, read_keys

AUTHORITY = timedelta(days=3650)
SLACK = timedelta(hours=1)  # clocks differ
# What Flower's commands are given, and whether it is a secret.
NODE_FILES = {"auth-supernode-private-key": True, "root-certificates": False}
LINK_FILES = {
    "ssl-keyfile": True,
    "ssl-certfile": False,
    "ssl-ca-certfile": False,
    "superexec-auth-secret-file": True,
}


def server(folder: Path, hosts: Sequence[str], days: int) -> None:
    """Make `server.crt` and `server.key` for these names and addresses, and the authority that signs if there is none.

    `ca.crt` goes to every node; `ca.key` signs the next certificate and belongs on no machine of the federation.
    """
    names = [_name(host) for host in hosts]
    authority = [folder / "ca.crt", folder / "ca.key"]
    _absent(folder / "server.crt", folder / "server.key")
    if not all(path.exists() for path in authority):
        _absent(*authority)
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bract federation")])
        certificate = _authority(name, key)
        _write(authority[1], _private(key, serialization.PrivateFormat.PKCS8), 0o600)
        _write(authority[0], certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    key_of_authority, certificate = _read_authority(*authority)
    key = ec.generate_private_key(ec.SECP384R1())
    signed = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]), timedelta(days=days))
        .issuer_name(certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key_of_authority.public_key()), critical=False
        )
        .sign(key_of_authority, hashes.SHA384())
    )
    _write(folder / "server.key", _private(key, serialization.PrivateFormat.PKCS8), 0o600)
    _write(folder / "server.crt", signed.public_bytes(serialization.Encoding.PEM), 0o644)


def node(path: Path) -> None:
    """Make a node's private key at this path and, beside it, the public one that the SuperLink is told of."""
    public = path.with_name(path.name + ".pub")
    _absent(path, public)
    key = ec.generate_private_key(ec.SECP384R1())
    words = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    _write(path, _private(key, serialization.PrivateFormat.OpenSSH), 0o600)
    _write(public, words + f" {path.name}\n".encode(), 0o644)


def roster(path: Path, publics: Sequence[Path]) -> str:
    """Make the roster of these public keys, a file each, and give its fingerprint.

    Guaranteed: `read_roster` takes it, and the keys stand in it in this order, with the comments beside them.
    """
    _absent(path)
    lines: dict[bytes, str] = {}
    for public in publics:
        found = read_keys(public, "the public key")
        if len(found) > 1:
            raise BractError(f"the public key {public} should be one key, not {len(found)}")
        [(point, line)] = found.items()
        if point in lines:
            raise BractError(f"the public key {public} is the same as one before it")
        lines[point] = one_line(line)
    _write(path, "".join(f"{line}\n" for line in lines.values()).encode(), 0o644)
    return fingerprint(lines)


def require_private_files(command: str, arguments: Sequence[str], files: Mapping[str, bool]) -> None:
    """Refuse to start with a key that others may read, or with any of these files if others may write it.

    `files` are options of Flower's command, and whether each brings a secret.
    """
    paths = given(command, arguments, files)
    for name, secret in files.items():
        if (path := paths[name]) is not None:
            require_private(path, f"--{name}:", secret=secret)


def given(command: str, arguments: Sequence[str], files: Iterable[str]) -> dict[str, Path | None]:
    """What these options of Flower's command name, in the words for it."""
    parser = argparse.ArgumentParser(prog=f"bract {command}", add_help=False)  # takes shortened options, as Flower's do
    for name in files:
        parser.add_argument(f"--{name}", dest=name, type=Path)
    return vars(parser.parse_known_args(list(arguments))[0])


def _authority(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    signs = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
            "digital_signature",
        ),
        False,
    )
    return (
        _builder(name, AUTHORITY)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **signs), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _builder(name: x509.Name, lifetime: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + lifetime)
    )


def _read_authority(public: Path, private: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    require_private(public, "the authority's certificate", secret=False)
    require_private(private, "the authority's key", secret=True)
    try:
        certificate = x509.load_pem_x509_certificate(public.read_bytes())
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise BractError(f"the authority in {public.parent} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise BractError(f"{private} is not the key of {public}")
    return key, certificate


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not host or any(letter in host for letter in "/:@ ") or not host.isascii():
            raise BractError(f"--host {host!r}: should be a name or an address, without a port") from None
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _absent(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise BractError(f"{path} is there already: move it away first, nothing is overwritten")


def _write(path: Path, data: bytes, mode: int) -> None:
    """Make a file that has these permissions from its first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        raise BractError(f"{path} cannot be written: {error.strerror}") from error
