"""Faults: what a program says when it fails may quote the data. The server is told an id, the node's log the rest."""

import re

import pytest

from bract.data import tables
from bract.errors import BractError
from bract.tasks.classification import Classification
from tests.hostile.node import assert_tells_nothing, rows_of

WORDS = "row 17: Jane Roe, HIV positive"
FAULTS = [
    ValueError(WORDS),
    KeyError(WORDS),
    BractError(WORDS),
    RuntimeError(WORDS + "x" * 10**4),
    MemoryError(),
    OSError(2, WORDS, "/data/ward7.csv"),
    UnicodeDecodeError("utf-8", WORDS.encode(), 4, 9, WORDS),
]
# Where it goes wrong, and in the answer to what.
PLACES = [
    (tables, "read_rows", "train"),
    (tables, "read_rows", "evaluate"),
    (Classification, "examples", "train"),
    (Classification, "examples", "evaluate"),
    (Classification, "losses", "train"),
    (Classification, "measure", "evaluate"),
]


@pytest.mark.parametrize(("whose", "name", "kind"), PLACES, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_s_words_stay_at_the_node(node, monkeypatch, caplog, whose, name, kind):
    """Whatever it is: the same words but for the id, by which the operator finds it in the log."""
    site, told = node(rows_of(100)), set()
    site.layout()  # what the server knows before
    for number, fault in enumerate(FAULTS):
        clear(site, number)
        with monkeypatch.context() as patch:
            patch.setattr(whose, name, raising(fault))
            reply = getattr(site, kind)()
            assert reply.declined
        assert "Jane" not in reply.everything
        assert "HIV" not in reply.everything
        assert_tells_nothing(reply, site)
        assert len(reply.words_without_id) < 200
        told.add(reply.words_without_id)
        number = re.search(r"\b[0-9a-f]{8,}\b", reply.words)
        assert number, reply.words
        assert number[0] in caplog.text
    assert len(told) == 1, told
    assert "Jane Roe" in caplog.text


def test_a_file_that_cannot_be_read_is_told_by_an_id(node):
    """Gone, torn or without its columns: the server cannot tell which, nor what there is instead."""
    site, told = node(), set()
    site.layout()
    for change in (
        site.data.unlink,
        lambda: site.data.write_text('a,b\n"1'),
        lambda: site.data.write_text("name,born\nJane,1970\n"),
    ):
        change()
        reply = site.train()
        assert reply.declined
        assert "Jane" not in reply.everything
        assert_tells_nothing(reply, site, "name", "born")
        assert "born" not in reply.everything
        told.add(reply.words_without_id)
    assert len(told) == 1, told


@pytest.mark.parametrize("config", [{"policy": "/nowhere/secret.toml"}, {"policy": "here"}, {"data-holdout": "much"}])
def test_a_fault_in_the_policy_stays_at_the_node(node, config):
    """Its words are the operator's to read."""
    site = node(config=config)
    reply = site.ask("join")
    assert reply.declined
    assert "secret" not in reply.everything
    assert "holdout" not in reply.everything
    assert_tells_nothing(reply, site)


def test_a_home_that_cannot_be_written_is_told_by_an_id(node, tmp_path):
    (tmp_path / "full").write_text("no folder")
    site = node()
    site.layout()
    site.home = tmp_path / "full"
    reply = site.train()
    assert reply.declined
    assert "full" not in reply.everything
    assert "Errno" not in reply.everything


def test_every_id_is_its_own(node, monkeypatch):
    site = node()
    site.layout()
    clear(site, 1)
    monkeypatch.setattr(tables, "read_rows", raising(ValueError(WORDS)))
    assert site.train().words != site.train().words


def raising(fault):
    def raises(*_, **__):
        raise fault

    return raises


def clear(site, number):
    """Another file of the same rows, so that nothing is kept of the last one, and another budget."""
    site.data.write_text(site.data.read_text() + "\n")
    site.home = site.folder / f"home{number}"
