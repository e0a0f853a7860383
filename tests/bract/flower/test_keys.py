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
from bract.flower.roster import fingerprint, point_of, read_roster
from bract.processes import tool


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


@pytest.mark.parametrize(
    ("command", "option", "mode", "words"),
    [
        ("node", "--auth-supernode-private-key", 0o640, "is open to others than its owner: chmod go= {path}"),
        ("node", "--auth-supernode-private-key", 0o620, "is open to others than its owner: chmod go= {path}"),
        ("node", "--auth-supernode-priv", 0o604, "is open to others than its owner: chmod go= {path}"),
        ("node", "--root-certificates", 0o664, "may be written by others: chmod go-w {path}"),
        ("link", "--ssl-keyfile", 0o644, "is open to others than its owner: chmod go= {path}"),
        ("link", "--superexec-auth-secret-file", 0o644, "is open to others than its owner: chmod go= {path}"),
        ("link", "--ssl-certfile", 0o646, "may be written by others: chmod go-w {path}"),
        ("link", "--ssl-ca-certfile", 0o664, "may be written by others: chmod go-w {path}"),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_nothing_starts_with_a_file_that_is_open_to_others(tmp_path, capsys, command, option, mode, words, joined):
    path = tmp_path / "the file"
    path.write_bytes(b"x")
    path.chmod(mode)
    given = [f"{option}={path}"] if joined else [option, str(path)]
    assert main([command, "--insecure", *given, "--host", "127.0.0.1"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert words.format(path=f"'{path}'") in line
    assert option in line or option == "--auth-supernode-priv"
    mended = line.rpartition(": ")[2]
    subprocess.run(mended, shell=True, check=True)
    name = line.split("--")[1].split(":")[0]
    files = keys.NODE_FILES if command == "node" else keys.LINK_FILES
    keys.require_private_files(command, given, files)
    assert stat.S_IMODE(path.stat().st_mode) & (0o077 if files[name] else 0o022) == 0


def test_what_is_made_may_be_used_and_what_is_not_there_is_said(tmp_path, capsys):
    keys.server(tmp_path, ["127.0.0.1"], 30)
    keys.node(tmp_path / "node0")
    at_node = ["--root-certificates", str(tmp_path / "ca.crt"), "--auth-supernode-private-key", str(tmp_path / "node0")]
    keys.require_private_files("node", [*at_node, "--node-config", "partition-id=0"], keys.NODE_FILES)
    names = {"ssl-ca-certfile": "ca.crt", "ssl-certfile": "server.crt", "ssl-keyfile": "server.key"}
    at_link = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    keys.require_private_files("link", at_link, keys.LINK_FILES)
    (tmp_path / "node0").unlink()
    assert main(["node", *at_node]) == 1
    assert capsys.readouterr().err.endswith("node0 cannot be read: No such file or directory\n")


@pytest.mark.parametrize(("name", "mode"), [("ca.key", 0o640), ("ca.crt", 0o664)])
def test_an_authority_that_others_may_touch_signs_nothing(tmp_path, name, mode):
    keys.server(tmp_path, ["127.0.0.1"], 30)
    for made in ("server.crt", "server.key"):
        (tmp_path / made).unlink()
    (tmp_path / name).chmod(mode)
    with pytest.raises(BractError, match=f"chmod go.* {tmp_path / name}"):
        keys.server(tmp_path, ["127.0.0.1"], 30)
    assert not (tmp_path / "server.key").exists()


@pytest.mark.parametrize(("command", "files"), [("supernode", keys.NODE_FILES), ("superlink", keys.LINK_FILES)])
def test_flower_still_takes_the_options_that_are_checked(command, files):
    done = subprocess.run([tool(f"flower-{command}"), "--help"], capture_output=True, text=True, check=True)
    assert [name for name in files if f"--{name} " not in done.stdout] == []


@pytest.fixture
def publics(tmp_path):
    """The public keys of three nodes."""
    for i in range(3):
        keys.node(tmp_path / f"node{i}")
    return [tmp_path / f"node{i}.pub" for i in range(3)]


def test_a_roster_is_made_of_public_keys_and_has_a_fingerprint(tmp_path, publics, capsys):
    assert main(["keys", "roster", str(tmp_path / "roster"), *map(str, publics)]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert "to every node's operator by a way that is not the server" in line
    assert line.endswith(f": {fingerprint(read_roster(tmp_path / 'roster'))}")
    lines = [public.read_text() for public in publics]
    assert (tmp_path / "roster").read_text() == "".join(lines)  # with the comments, which say whose it is
    assert mode(tmp_path / "roster") == 0o644
    own = {point_of(load_ssh_private_key((tmp_path / f"node{i}").read_bytes(), password=None)) for i in range(3)}
    assert read_roster(tmp_path / "roster") == own


def test_a_roster_is_not_made_of_what_is_no_node_s_key(tmp_path, publics, capsys):
    place = str(tmp_path / "roster")
    (tmp_path / "again.pub").write_text(" ".join(publics[0].read_text().split()[:2]) + " under another name\n")
    (tmp_path / "two.pub").write_text(publics[0].read_text() + publics[1].read_text())
    (tmp_path / "open.pub").write_text(publics[0].read_text())
    (tmp_path / "open.pub").chmod(0o666)
    for bad, words in (
        (tmp_path / "again.pub", "is the same as one before it"),
        (tmp_path / "two.pub", "should be one key, not 2"),
        (tmp_path / "open.pub", "may be written by others"),
        (tmp_path / "node1", "line 1: should be a key as bract keys node writes it to .pub"),
        (tmp_path / "none.pub", "cannot be read"),
    ):
        assert main(["keys", "roster", place, str(publics[0]), str(bad)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert words in line
        assert str(bad) in line
        assert not (tmp_path / "roster").exists()


def test_a_roster_that_is_there_is_left_as_it_is(tmp_path, publics, capsys):
    keys.roster(tmp_path / "roster", publics[:2])
    before = (tmp_path / "roster").read_bytes()
    assert main(["keys", "roster", str(tmp_path / "roster"), *map(str, publics)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "roster").read_bytes() == before


def test_a_comment_is_shown_without_what_a_terminal_obeys(tmp_path, publics):
    publics[0].write_text(" ".join(publics[0].read_text().split()[:2]) + " a\x1b[31mb\n")
    keys.roster(tmp_path / "roster", publics[:1])
    assert (tmp_path / "roster").read_text().endswith(" a [31mb\n")
