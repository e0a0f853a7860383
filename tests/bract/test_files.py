"""The node's secret, and what is refused because others could have written it."""

import multiprocessing
import os
import subprocess

import pytest

from bract.errors import BractError
from bract.files import home as home_of
from bract.files import node_secret, require_private


def test_the_secret_is_made_once_and_is_its_owner_s_alone(home):
    secret = node_secret()
    assert secret == node_secret() == (home / "secret").read_bytes()
    assert len(secret) == 32
    assert (home / "secret").stat().st_mode & 0o777 == 0o600
    (home / "secret").chmod(0o644)
    with pytest.raises(BractError, match="is open to others than its owner: chmod go="):
        node_secret()


@pytest.mark.parametrize("left", [b"", b"short"])
def test_a_secret_that_is_not_whole_is_no_secret(home, left):
    node_secret()
    (home / "secret").write_bytes(left)
    with pytest.raises(BractError, match="is damaged: restore it"):
        node_secret()


def test_a_process_that_is_killed_while_it_makes_the_secret_leaves_none(home, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            node_secret()
    assert not (home / "secret").exists()
    assert len(node_secret()) == 32


def test_a_secret_is_not_made_anew_where_ledgers_need_the_old_one(home):
    node_secret()
    (home / "ledger").mkdir()
    (home / "ledger" / "own-1.examples").write_bytes(b"x")
    (home / "secret").unlink()
    with pytest.raises(BractError, match="secret is gone, by which its ledgers know their data|is gone, by which"):
        node_secret()
    assert not (home / "secret").exists()


def _secret(home, start, found):
    os.environ["BRACT_HOME"] = home
    start.wait()
    found.put(node_secret())


def test_processes_that_begin_at_once_get_the_same_secret(home):
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_secret, args=(str(home), start, found)) for _ in range(4)]
    for worker in workers:
        worker.start()
    secrets = {found.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert len(secrets) == 1
    assert secrets == {node_secret()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "of" / "a file"
    path.parent.mkdir(mode=0o700)
    path.write_text("x")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("mode", "folder", "secret", "fine"),
    [
        (0o600, 0o700, True, True),
        (0o644, 0o755, False, True),
        (0o644, 0o755, True, False),
        (0o640, 0o700, True, False),
        (0o620, 0o700, False, False),
        (0o602, 0o700, False, False),
        (0o600, 0o770, False, False),
        (0o600, 0o707, False, False),
        (0o600, 0o1777, False, True),  # as /tmp: nobody moves what is another's
    ],
)
def test_what_others_may_write_is_refused_with_what_mends_it(file, mode, folder, secret, fine):
    file.chmod(mode)
    file.parent.chmod(folder)
    if not fine:
        with pytest.raises(BractError, match="the key: .*: chmod go") as error:
            require_private(file, "the key:", secret=secret)
        assert "\n" not in str(error.value)
        subprocess.run(str(error.value).rpartition(": ")[2], shell=True, check=True)
    require_private(file, "the key:", secret=secret)


def test_a_link_stands_for_what_it_leads_to(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    require_private(link, "the key")
    file.parent.chmod(0o777)  # another file may be put there
    with pytest.raises(BractError, match="lies in a folder that others may write"):
        require_private(link, "the key")
    file.parent.chmod(0o700)
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "link").symlink_to(file)  # and here another link
    with pytest.raises(BractError, match="lies in a folder that others may write"):
        require_private(open_to_all / "link", "the key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_user_s_file_is_refused(file):
    os.chown(file, 4321, -1)
    with pytest.raises(BractError, match="is another user's: chown 0"):
        require_private(file, "the key")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(BractError, match="cannot be read: No such file"):
        require_private(tmp_path / "none", "the key")


def test_home_is_where_the_environment_says(home):
    assert home_of() == home
