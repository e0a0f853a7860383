"""Whose examples are: read from a column, and never split."""

import numpy as np
import pytest

from bract.data import tables
from bract.data.partition import Partition
from bract.errors import BractError
from bract.settings.read import read
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples, Table


def settings(**values):
    return read({f"data.{key.replace('_', '-')}": value for key, value in values.items()}).data


def table_of(users, classes=None, group=()):
    texts = tuple(f"t{i}" for i in range(len(users)))
    labels = tuple(classes or (f"l{i % 10}" for i in range(len(users))))
    return Table({"text": texts, "label": labels}, labels, tuple(group), tuple(users))


RNG = np.random.default_rng(0)
USERS = [f"u{u}" if u else "" for u in RNG.integers(0, 300, 1200)]  # nobody, and persons with uneven shares
TABLE = table_of(USERS)


def test_the_column_is_read_as_text_and_rows_keep_their_users(tmp_path):
    path = tmp_path / "d.jsonl"
    rows = ['"user": 3', '"user": 3.0', '"user": null', '"other": 1', '"user": " b "']
    lines = [f'{{"text": "t{i}", "label": "x", {row}}}' for i, row in enumerate(rows)]
    path.write_text("\n".join([*lines[:2], '{"text": "", "label": "x", "user": "z"}', *lines[2:]]) + "\n")
    data = settings(source=f"file:{path}", user="user")
    found = tables.load(data, 0, CLASSIFICATION)
    assert found.columns["text"] == ("t0", "t1", "t2", "t3", "t4")
    assert found.users == ("3", "3", "", "", "b")
    assert found.persons.tolist() == [0, 0, 1, 2, 3]  # rows of nobody are persons of their own
    plain = tables.load(settings(source=f"file:{path}"), 0, CLASSIFICATION)
    assert plain.users == ()
    assert plain.persons is None


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "d.csv").write_text("text,label\na,b\n")
    with pytest.raises(BractError, match="data.user = 'patient': .* it has text, label"):
        tables.load(settings(source=f"file:{tmp_path}/d.csv", user="patient"), 0, CLASSIFICATION)


def test_the_servers_test_set_needs_no_users(tmp_path):
    (tmp_path / "d.csv").write_text("text,label,user\na,x,1\nb,y,2\n")
    (tmp_path / "t.csv").write_text("text,label\na,x\n")
    data = settings(source=f"file:{tmp_path}/d.csv", user="user", test=str(tmp_path / "t.csv"))
    outputs = CLASSIFICATION.outputs(data, tables.load(data, 0, CLASSIFICATION), {})
    assert len(tables.load_test(data, CLASSIFICATION, outputs)) == 1


def test_examples_know_whose_they_are():
    some = Examples([np.zeros(1, np.int32)] * 3, np.zeros(3, np.int64), np.array([0, 1, 0]))
    assert some.whose.tolist() == [0, 1, 0]
    assert some.only(np.array([2, 1])).whose.tolist() == [0, 1]
    assert Examples(some.tokens, some.targets).whose.tolist() == [0, 1, 2]


def whose(rows):
    """Persons of rows; a row of nobody is a person of its own."""
    return {USERS[i] or int(i) for i in rows}


@pytest.mark.parametrize("mix", ["own", "independent"])
@pytest.mark.parametrize("kind", ["iid", "dirichlet:0.5", "dirichlet:0.01", "pathological:2"])
def test_nobody_is_split_over_clients_or_into_training_and_hold_out(kind, mix):
    data = settings(source="file:/x.csv", partition=kind, user="user", holdout_mix=mix)
    partition = Partition(TABLE, data, 6, seed=3)
    shards = [partition.shard(client) for client in range(6)]
    parts = [part for shard in shards for part in (shard.train, shard.holdout)]
    persons = [whose(part) for part in parts]
    assert sum(map(len, persons)) == len(set.union(*persons))
    rows = np.concatenate(parts)
    assert len(set(rows.tolist())) == len(rows)
    for part, who in zip(parts, persons, strict=True):  # all that a person has
        assert part.tolist() == [i for i in range(1200) if (USERS[i] or i) in who]
    if not kind.startswith("pathological"):
        assert len(rows) == 1200
    assert sum(len(shard.holdout) for shard in shards) > 80
    again = Partition(TABLE, data, 6, seed=3).shard(2)
    other = Partition(TABLE, data, 6, seed=4).shard(2)
    assert (again.train == shards[2].train).all()
    assert again.train.tolist() != other.train.tolist()


def test_what_is_shared_out_evenly_is_persons():
    data = settings(source="file:/x.csv", partition="iid", user="user", holdout=0.25)
    partition = Partition(TABLE, data, 4, seed=0)
    persons = len(whose(range(1200)))
    assert {len(whose(rows)) for rows in partition.rows} <= {persons // 4, persons // 4 + 1}
    shard = partition.shard(1)
    assert len(whose(shard.holdout)) == round(len(whose(partition.rows[1])) * 0.25)


def test_who_is_at_two_natural_sites_goes_to_the_first():
    table = table_of(["a", "b", "a", "b", "", ""], group=["g0", "g1", "g1", "g1", "g0", "g1"])
    rows = Partition(table, settings(source="file:/x.csv", partition="natural:g", user="user"), 2, 0).rows
    assert [found.tolist() for found in rows] == [[0, 2, 4], [1, 3, 5]]


def test_too_few_persons_for_the_clients_are_no_split():
    table = table_of(["a", "a", "b", "b"])
    with pytest.raises(BractError, match="2 persons cannot be split over 3 clients"):
        _ = Partition(table, settings(source="file:/x.csv", partition="iid", user="user"), 3, 0).rows


@pytest.mark.parametrize("kind", ["iid", "dirichlet:0.1", "pathological:2"])
def test_one_row_a_person_is_split_as_rows_are(kind):
    """To the bit: persons are only another thing to deal out."""
    data = settings(source="file:/x.csv", partition=kind, user="user")
    owned = table_of([f"u{i}" for i in range(200)])
    plain = Table(owned.columns, owned.classes)
    for client in range(5):
        one, two = (Partition(table, data, 5, 1).shard(client) for table in (plain, owned))
        assert one.train.tolist() == two.train.tolist()
        assert one.holdout.tolist() == two.holdout.tolist()
