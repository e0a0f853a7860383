"""One odd example: whatever a person wrote, the server is told of it by noised values alone."""

import json

import pytest

from tests.hostile.node import LABEL, TEXT, UNLISTED, assert_tells_nothing, rows_of

ODD = {
    "empty": {TEXT: ""},
    "blank": {TEXT: " \t "},
    "long": {TEXT: "lost " * 5000},
    "longer than a CSV's field": {TEXT: "x" * 200_000},
    "unlisted": {LABEL: "terminal"},
    "no label": {LABEL: ""},
    "long label": {LABEL: "y" * 10_000},
    "unicode": {TEXT: "💉 日本語 \u202e\u0000\ufeff"},
    "quotes": {TEXT: '","\n\r"", '},
    "tokens": {TEXT: "[CLS] [PAD] [SEP] [UNK]"},
}
ODD_JSON = {
    "null": {TEXT: None},
    "number": {TEXT: 3.0},
    "huge number": {TEXT: 10**400},
    "endless": {TEXT: float("inf")},
    "not a number": {LABEL: float("nan")},
    "list": {TEXT: ["lost", {"a": 1}]},
    "label of another kind": {LABEL: {"lost": True}},
    "half a character": {TEXT: "lost \ud800 card"},
    "half a label": {LABEL: "\udfff"},
}


def replies(site):
    return [site.ask("join"), site.ask("head"), site.train(), site.train(round=2), site.evaluate()]


@pytest.mark.parametrize(
    ("suffix", "cells"),
    [(".csv", cells) for cells in ODD.values()] + [(".jsonl", cells) for cells in (ODD | ODD_JSON).values()],
    ids=[*ODD, *(f"json {name}" for name in ODD | ODD_JSON)],
)
def test_an_odd_example_is_in_no_reply(node, suffix, cells):
    """It is left out, or cut, or trained on: the replies have the same fields, words and lengths either way."""
    rows = rows_of()
    rows[-1][LABEL] = "lost"
    ours, others = node(rows, suffix=suffix), node([{**rows[0], **cells}, *rows[1:]], suffix=suffix, name="others")
    for plain, odd in zip(replies(ours), replies(others), strict=True):
        assert shape(plain) == shape(odd)
        assert plain.status in ("answered", "done")
        assert not any(cell in odd.everything for cell in map(str, cells.values()) if len(cell.strip()) > 5)


def test_a_label_outside_the_list_is_left_out_and_still_counted(node):
    """One row of it or all of them: the number of examples that is taken as known does not change."""
    none, all_ = node(), node([{**row, LABEL: UNLISTED} for row in rows_of()], name="all")
    for plain, odd in zip(replies(none), replies(all_), strict=True):
        assert shape(plain) == shape(odd)
        assert_tells_nothing(odd, all_)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_examples_may_all_be_on_one_side(node, count):
    """The hold-out is by chance, example by example: whether anything is left to train on is not told."""
    found = set()
    for i in range(12):
        rows = [{**row, TEXT: f"{row[TEXT]} {i}"} for row in rows_of(count)]
        site = node(rows, name=f"few{i}")
        found.add(json.dumps([shape(site.train({"train.batch": 1})), shape(site.evaluate({"train.batch": 1}))]))
    assert len(found) == 1


def test_a_public_number_of_examples_stands_for_the_exact_one(node):
    """With `data.examples` in the policy one example more or less is protected, too: in noise, steps and statement."""
    shapes = []
    for count in (20, 32, 45):
        site = node(rows_of(count), policy={"data": {"examples": 32}}, name=f"site{count}")
        shapes.append([shape(reply) for reply in replies(site)])
    assert shapes[0] == shapes[1] == shapes[2]


def shape(reply):
    """All of a reply but the values that are noised: of these the length, or that they are there."""
    found = {name: value for name, value in reply.fields.items() if name != "payload/payload"}
    noised = {name: "noised" for name in found if name.startswith("metrics/") and name != "metrics/steps"}
    payload = {"payload": len(reply.payload)} if "payload/payload" in reply.fields else {}
    return {**found, **noised, **payload}
