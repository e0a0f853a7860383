import json
import os

import numpy as np
import pytest

from bract.data import tables
from bract.data.partition import Partition
from bract.data.tables import load_test, read_rows
from bract.errors import BractError
from bract.settings.read import read
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Outputs, Table


def load(data, seed=0):
    return tables.load(data, seed, CLASSIFICATION)


def outputs(data):
    return CLASSIFICATION.outputs(data, load(data), tables.described(data))


def table_of(texts, labels, group=()):
    return Table({"text": tuple(texts), "label": tuple(labels)}, tuple(labels), tuple(group))


def settings(**values):
    return read({f"data.{key.replace('_', '-')}": value for key, value in values.items()}).data


CSV = 'text,label\nhello there,greet\n"a ""quoted"", text",greet\nbye,leave\n'


@pytest.fixture
def files(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "d.csv").write_text(CSV)
    rows = [
        {"text": "hello there", "label": "greet"},
        {"text": 'a "quoted", text', "label": "greet"},
        {"text": "bye", "label": "leave"},
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_all_kinds_of_file_read_alike(files, suffix):
    data = settings(source=f"file:{files}/d.{suffix}")
    assert load(data) == table_of(("hello there", 'a "quoted", text', "bye"), ("greet", "greet", "leave"))
    assert outputs(data) == Outputs(2, ("greet", "leave"), ("greet", "leave"))


def test_the_hub_reader_takes_a_dataset(files, monkeypatch):
    # `load_dataset` reads a folder of that name as it would the hub's: the real code, without the network.
    (files / "owner" / "name").mkdir(parents=True)
    os.rename(files / "d.csv", files / "owner" / "name" / "train.csv")
    monkeypatch.chdir(files)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(files / "cache"))
    assert load(settings(source="hub:owner/name")).classes == ("greet", "greet", "leave")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.csv", None, "data.source: there is no file .*missing.csv"),
        ("data.txt", "x", "data.source: .*should end in .csv, .jsonl, .parquet"),
        ("d.csv", "body,label\na,b\n", "data.text = 'text': .* it has body, label"),
        ("d.csv", "text,intent\na,b\n", "data.label = 'label': .* it has text, intent"),
        ("d.csv", "text,label\na\n", "record 1 does not have 2 fields"),
        ("d.csv", "text,label\na,b,c\n", "record 1 does not have 2 fields"),
        ("d.csv", "text,label\n", "no row with text and label"),
        ("d.csv", "", "it has none"),
        ("d.csv", b"text,label\n\xff\xfe,b\n", "not UTF-8"),
        ("d.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', "line 2 is not JSON"),
        ("d.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("d.parquet", "nonsense", "cannot be read"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, name, text, words):
    path = tmp_path / name
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(BractError, match=words):
        load(settings(source=f"file:{path}"), 0)


def test_rows_without_text_or_label_are_left_out(tmp_path):
    (tmp_path / "d.csv").write_text("text,label\na,x\n,x\nb,\nc,y\n")
    assert load(settings(source=f"file:{tmp_path}/d.csv")).columns["text"] == ("a", "c")


def test_labels_may_come_with_descriptions(tmp_path, files):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"leave": "the customer says goodbye", "greet": "a greeting"}))
    data = settings(source=f"file:{files}/d.csv", labels=str(names))
    assert outputs(data).names == ("leave", "greet")
    names.write_text(json.dumps(["leave"]))
    with pytest.raises(BractError, match="lacks labels that the data has: greet"):
        outputs(data)


def test_a_test_label_that_training_never_saw_is_an_error(tmp_path, files):
    (tmp_path / "t.csv").write_text("text,label\nhi,greet\nwhat,ask\n")
    data = settings(source=f"file:{files}/d.csv", test=str(tmp_path / "t.csv"))
    with pytest.raises(BractError, match="labels that training never saw: ask"):
        load_test(data, CLASSIFICATION, Outputs(2, ("greet", "leave")))


def test_an_unreadable_kind_of_file_says_which_setting(tmp_path):
    with pytest.raises(BractError, match="data.test: there is no file"):
        read_rows(tmp_path / "t.csv", "data.test")


def test_a_column_of_ids_or_texts_is_not_taken_for_labels(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{i}", "label": i, "x": 1.0}) + "\n" for i in range(50)))
    data = settings(source=f"file:{path}")
    with pytest.raises(BractError, match="50 different values in 50 rows.*list them in data.labels"):
        outputs(data)
    whole = settings(source=f"file:{path}", label="x")
    assert set(load(whole).classes) == {"1"}  # 1.0 in a column of numbers is the label 1


TABLE = table_of((f"t{i}" for i in range(400)), [f"l{i % 10}" for i in range(400)])


@pytest.mark.parametrize("kind", ["iid", "dirichlet:0.5", "dirichlet:0.01", "pathological:2"])
def test_partitions_are_disjoint_and_repeatable(kind):
    data = settings(source="file:/x.csv", partition=kind)
    rows = Partition(TABLE, data, 8, seed=3).rows
    again = Partition(TABLE, data, 8, seed=3).rows
    assert all((a == b).all() for a, b in zip(rows, again, strict=True))
    every = np.concatenate(rows)
    assert len(set(every.tolist())) == len(every)
    if not kind.startswith("pathological"):
        assert len(every) == 400
    other = Partition(TABLE, data, 8, seed=4).rows
    assert any(a.tolist() != b.tolist() for a, b in zip(rows, other, strict=True))


def test_partitions_have_the_mix_they_are_named_for():
    def labels(kind):
        rows = Partition(TABLE, settings(source="file:/x.csv", partition=kind), 8, seed=0).rows
        return [len({TABLE.classes[i] for i in r}) for r in rows]

    assert min(labels("iid")) == 10
    assert max(labels("pathological:2")) <= 2
    assert min(labels("dirichlet:0.01")) < 3  # and empty shards are no crash


def test_natural_groups_are_dealt_out_whole():
    table = table_of(TABLE.columns["text"], TABLE.classes, (f"g{i % 5}" for i in range(400)))
    data = settings(source="file:/x.csv", partition="natural:site")
    rows = Partition(table, data, 5, 0).rows
    assert [{table.group[i] for i in r} for r in rows] == [{f"g{i}"} for i in range(5)]
    merged = Partition(table, data, 2, 0).rows
    assert {table.group[i] for i in merged[0]} == {"g0", "g2", "g4"}
    with pytest.raises(BractError, match="5 groups cannot be split over 6 clients"):
        _ = Partition(table, data, 6, 0).rows


def test_the_held_out_part_is_the_clients_own_and_repeatable():
    partition = Partition(TABLE, settings(source="file:/x.csv", partition="iid"), 8, 0)
    shard = partition.shard(2)
    assert len(shard.holdout) == 10
    assert sorted([*shard.train, *shard.holdout]) == partition.rows[2].tolist()
    assert (partition.shard(2).holdout == shard.holdout).all()


@pytest.mark.parametrize("kind", ["iid", "dirichlet:0.1", "pathological:3"])
def test_the_held_out_part_may_be_drawn_by_itself(kind):
    data = settings(source="file:/x.csv", partition=kind, holdout_mix="independent")
    partition = Partition(TABLE, data, 4, seed=0)
    shards = [partition.shard(i) for i in range(4)]
    rows = np.concatenate([np.concatenate([s.train, s.holdout]) for s in shards])
    assert len(set(rows.tolist())) == len(rows)  # nothing is both, and nothing has two owners
    assert sum(len(s.holdout) for s in shards) <= 80
    assert (partition.shard(1).holdout == Partition(TABLE, data, 4, seed=0).shard(1).holdout).all()

    def mix(rows):
        return np.bincount([int(TABLE.classes[i][1:]) for i in rows], minlength=10) / max(len(rows), 1)

    def apart(which):
        each = [
            Partition(TABLE, settings(source="file:/x.csv", partition=kind, holdout_mix=which), 4, 0).shard(i)
            for i in range(4)
        ]
        return np.mean([np.abs(mix(s.train) - mix(s.holdout)).sum() for s in each])

    if kind == "dirichlet:0.1":  # the client's own mix, or another one
        assert apart("own") < 0.7 < 1 < apart("independent")


def test_natural_groups_have_no_independent_draw():
    table = table_of(("a", "b"), ("x", "y"), ("g0", "g1"))
    data = settings(source="file:/x.csv", partition="natural:g", holdout_mix="independent")
    with pytest.raises(BractError, match="holdout-mix = 'independent' needs a split that is drawn"):
        Partition(table, data, 2, 0).shard(0)


def test_a_shard_of_one_is_not_split():
    table = table_of(("a", "b"), ("x", "y"), ("g0", "g1"))
    shard = Partition(table, settings(source="file:/x.csv", partition="natural:g"), 2, 0).shard(0)
    assert len(shard.train) == 1
    assert len(shard.holdout) == 0
