"""Certificates and keys: what OpenSSL and OpenSSH themselves say of them."""

import shutil
import ssl
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from bract.cli.main import main
from bract.errors import BractError
from bract.flower import keys


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_tls_client_accepts_the_certificate_for_its_names_alone(tmp_path):
    keys.server(tmp_path / "new", ["127.0.0.1", "link.example"], 30)
    folder = tmp_path / "new"
    here, there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(folder / "ca.crt"))
    here.load_cert_chain(folder / "server.crt", folder / "server.key")
    there.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 and newer do by themselves
    for name, right in (("127.0.0.1", True), ("link.example", True), ("other.example", False)):
        assert handshake(here, there, name) is right
    keys.server(tmp_path / "other", ["127.0.0.1"], 30)
    stranger = ssl.create_default_context(cafile=str(tmp_path / "other" / "ca.crt"))
    assert not handshake(here, stranger, "127.0.0.1")


def handshake(here, there, name):
    """Whether one side's hello ends in a connection, in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = here.wrap_bio(up, down, server_side=True), there.wrap_bio(down, up, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return client.version() is not None


def test_private_keys_are_their_owner_s_alone_and_nothing_is_overwritten(tmp_path):
    keys.server(tmp_path / "ca", ["127.0.0.1"], 30)
    keys.node(tmp_path / "ca" / "node0")
    assert mode(tmp_path / "ca") == 0o700
    assert {mode(tmp_path / "ca" / name) for name in ("ca.key", "server.key", "node0")} == {0o600}
    before = {path: path.read_bytes() for path in (tmp_path / "ca").iterdir()}
    for again in (
        lambda: keys.server(tmp_path / "ca", ["127.0.0.1"], 30),
        lambda: keys.node(tmp_path / "ca" / "node0"),
    ):
        with pytest.raises(BractError, match="is there already"):
            again()
    assert before == {path: path.read_bytes() for path in (tmp_path / "ca").iterdir()}


def test_the_same_authority_signs_the_next_certificate(tmp_path):
    keys.server(tmp_path, ["127.0.0.1"], 30)
    authority = (tmp_path / "ca.crt").read_bytes()
    for name in ("server.crt", "server.key"):
        (tmp_path / name).unlink()
    keys.server(tmp_path, ["127.0.0.1"], 30)
    assert (tmp_path / "ca.crt").read_bytes() == authority
    x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority)
    )
    keys.server(tmp_path / "other", ["127.0.0.1"], 30)
    (tmp_path / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    for name in ("server.crt", "server.key"):
        (tmp_path / name).unlink()
    with pytest.raises(BractError, match="is not the key of"):
        keys.server(tmp_path, ["127.0.0.1"], 30)


def test_a_node_s_key_is_one_that_openssh_reads(tmp_path):
    keys.node(tmp_path / "node0")
    private = load_ssh_private_key((tmp_path / "node0").read_bytes(), password=None)
    assert private.public_key() == load_ssh_public_key((tmp_path / "node0.pub").read_bytes())
    if shutil.which("ssh-keygen") is None:
        return  # nothing else here needs OpenSSH
    done = subprocess.run(["ssh-keygen", "-y", "-f", tmp_path / "node0"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == (tmp_path / "node0.pub").read_text().split()[:2]


@pytest.mark.parametrize("host", ["https://link.example", "link.example:8000", "", "two words"])
def test_a_bad_name_is_one_clear_line(tmp_path, capsys, host):
    assert main(["keys", "server", str(tmp_path / "new"), "--host", host]) == 1
    assert "--host" in capsys.readouterr().err
    assert not (tmp_path / "new" / "server.key").exists()
