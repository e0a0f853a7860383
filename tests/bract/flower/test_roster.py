"""Rosters and signatures: what OpenSSH and Flower's own keys make of them, and every line that is refused."""

import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from bract.errors import BractError
from bract.flower import keys
from bract.flower.roster import fingerprint, load_node_key, point_of, read_roster, sign, verify


def line(key, *, comment=""):
    """A public key in OpenSSH's words."""
    words = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return words.decode() + (f" {comment}" if comment else "")


def written(path, text, mode=0o644):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def members():
    return [ec.generate_private_key(ec.SECP384R1()) for _ in range(3)]


def test_a_roster_is_the_members_points(tmp_path, members):
    first, second, third = members
    text = f"# the members\n\n{line(first, comment='site 0')}\r\n  \t\n\t{line(second)}\n  # none\n{line(third)}"
    found = read_roster(written(tmp_path / "roster", text))
    assert found == {point_of(key) for key in members}
    assert found == {point_of(key.public_key()) for key in members}
    for key in members:
        numbers = key.public_key().public_numbers()
        assert point_of(key) == b"\x04" + numbers.x.to_bytes(48, "big") + numbers.y.to_bytes(48, "big")


def test_what_bract_keys_node_makes_is_read(tmp_path):
    keys.node(tmp_path / "node0")
    key = load_node_key(tmp_path / "node0")
    assert read_roster(tmp_path / "node0.pub") == {point_of(key)}
    assert verify(point_of(key), b"word", sign(key, b"word"))


def test_what_openssh_makes_is_read(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH is not installed here")
    made = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-C", "its words"]
    subprocess.run([*made, "-N", "", "-f", tmp_path / "own"], check=True)
    assert read_roster(tmp_path / "own.pub") == {point_of(load_node_key(tmp_path / "own"))}
    subprocess.run([*made, "-N", "a password", "-f", tmp_path / "closed"], check=True)
    with pytest.raises(BractError, match="the node's key .* should be one that bract keys node made"):
        load_node_key(tmp_path / "closed")  # nobody is there to say the password


def test_a_fingerprint_is_of_the_keys_alone(tmp_path, members):
    first, second, third = members
    one = read_roster(written(tmp_path / "one", f"{line(first, comment='a')}\n{line(second)}\n{line(third)}\n"))
    other = read_roster(written(tmp_path / "other", f"# new\n{line(third)}\n{line(first)}\n{line(second)} b\n"))
    points = [point_of(key) for key in members]
    assert fingerprint(one) == fingerprint(other) == fingerprint(points) == fingerprint(reversed(points))
    assert len({fingerprint(some) for some in (one, points[:2], points[1:], points[:1])}) == 4
    made = fingerprint([b"\x04" + bytes([i]) * 96 for i in (2, 1)])
    assert made == "77e48a072e7da89b"


def test_a_line_that_is_no_node_s_key_is_named_by_its_number(tmp_path, members):
    good = line(members[0])
    kind, body = good.split()
    beside = bytearray(base64.b64decode(body))
    beside[-1] ^= 1  # a point that is not on the curve
    for bad in (
        "no key",
        kind,
        f"{kind} {body[:-8]}",
        f"{kind} {body[:40]}!{body[41:]}",
        f"{kind} {base64.b64encode(beside).decode()}",
        f"restrict {good}",
        f"{kind}-cert-v01@openssh.com {body}",
        line(ec.generate_private_key(ec.SECP256R1())),
        f"{kind} {line(ec.generate_private_key(ec.SECP256R1())).split()[1]}",
        line(ed25519.Ed25519PrivateKey.generate()),
        f"{kind} {line(ed25519.Ed25519PrivateKey.generate()).split()[1]}",
        "\ufeff" + line(members[1]),
        b"\xff\xfe\x00",
    ):
        text = f"# one\n{good}\n\n".encode() + (bad if isinstance(bad, bytes) else bad.encode()) + b"\n"
        with pytest.raises(BractError, match="the roster .*, line 4: should be a key as bract keys node writes it"):
            read_roster(written(tmp_path / "roster", text))


def test_a_doubled_key_is_refused_whatever_its_comment(tmp_path, members):
    text = f"{line(members[0], comment='a')}\n{line(members[1])}\n{line(members[0], comment='b')}\n"
    with pytest.raises(BractError, match="line 3: the same key as in line 1"):
        read_roster(written(tmp_path / "roster", text))


def test_an_empty_roster_or_one_that_others_may_write_is_none(tmp_path, members):
    with pytest.raises(BractError, match="holds no key"):
        read_roster(written(tmp_path / "roster", "# nobody\n"))
    with pytest.raises(BractError, match=r"the roster .* may be written by others: chmod go-w"):
        read_roster(written(tmp_path / "roster", line(members[0]), 0o664))
    with pytest.raises(BractError, match="cannot be read"):
        read_roster(tmp_path / "none")
    with pytest.raises(BractError, match="cannot be read"):
        read_roster(tmp_path)


def private(key):
    form = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def test_a_node_s_key_is_its_owner_s_and_of_the_right_kind(tmp_path, members):
    path = tmp_path / "key"
    assert point_of(load_node_key(written(path, private(members[0]), 0o600))) == point_of(members[0])
    with pytest.raises(BractError, match="the node's key .* is open to others than its owner"):
        load_node_key(written(path, private(members[0]), 0o640))
    for bad in (
        b"",
        b"no key",
        private(members[0])[:200],
        private(ec.generate_private_key(ec.SECP256R1())),
        private(ed25519.Ed25519PrivateKey.generate()),
        line(members[0]).encode(),
    ):
        with pytest.raises(BractError, match="the node's key .* should be one that bract keys node made"):
            load_node_key(written(path, bad, 0o600))
    path.unlink()
    with pytest.raises(BractError, match="cannot be read"):
        load_node_key(path)


def test_a_signature_is_of_one_key_and_one_message(members):
    first, second, _ = members
    signature = sign(first, b"a message")
    assert sign(first, b"a message") == signature  # what is asked for again is the same
    assert verify(point_of(first), b"a message", signature)
    assert not verify(point_of(second), b"a message", signature)
    assert not verify(point_of(first), b"a messagE", signature)
    assert not verify(point_of(first), b"", signature)
    for i in range(len(signature)):
        assert not verify(point_of(first), b"a message", signature[:i] + bytes([signature[i] ^ 1]) + signature[i + 1 :])
        assert not verify(point_of(first), b"a message", signature[:i])


def test_a_signature_is_the_one_of_the_standard():
    """RFC 6979, A.2.6: P-384 with SHA-384, the message "sample"."""
    secret = 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5
    r = 0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46
    s = 0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8
    key = ec.derive_private_key(secret, ec.SECP384R1())
    assert utils.decode_dss_signature(sign(key, b"sample")) == (r, s)


def test_bytes_that_are_no_key_or_no_signature_have_signed_nothing(members):
    key = members[0]
    point, signature = point_of(key), sign(key, b"m")
    public = key.public_key()
    compressed = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    zero = utils.encode_dss_signature(0, 0)
    for bad in (b"", b"\x00", b"\x04" + b"\xff" * 96, b"\x06" + point[1:], b"\x07" + point[1:], point + b"\x00"):
        assert not verify(bad, b"m", signature)
    assert not verify(point[:-1] + bytes([point[-1] ^ 1]), b"m", signature)  # beside the curve
    assert not verify(compressed, b"m", signature)
    for bad in (b"", b"\x30", b"x" * 1000, zero, signature + b"\x00", b"\x00" + signature):
        assert not verify(point, b"m", bad)
    for wrong in (None, "text", 3, [1]):
        assert not verify(wrong, b"m", signature)
        assert not verify(point, wrong, signature)
        assert not verify(point, b"m", wrong)
