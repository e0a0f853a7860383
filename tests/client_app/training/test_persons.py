"""Persons as the unit: each one's gradients as one, drawn and clipped and hidden together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from bract.batching import batch_of
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.persons import split_whole
from client_app.privacy.clip import SAFE
from client_app.training.gradients import PrivateGradients
from tests.client_app.nets import MECHANISM, clipped_sum, net_of, require_gradients
from tests.client_app.training.test_gradients import ENGINES, in_microbatches_of

UNEVEN = [7, 1, 3, 2, 1, 4]  # examples of each person, of the 18 that there are


@pytest.fixture
def persons(shard):
    whose = np.repeat(np.arange(len(UNEVEN)), UNEVEN)
    return replace(shard, persons=np.random.default_rng(1).permutation(whose))


def one_person_at_a_time(net, examples, rows, parts, clip, *, groups="all"):
    """The clipped sum by plain autograd: the gradient of each person's mean loss; and how many were clipped."""
    parameters = [p for part in parts for p in net.parameters_of(part)]
    factors = sum(p.numel() for part in parts if part != "head" for p in net.parameters_of(part))
    total, clipped = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64), 0
    require_gradients(net, parts)
    for person in np.unique(examples.persons[rows]):
        losses = []
        for i in rows[examples.persons[rows] == person]:
            ids, mask = batch_of([examples.tokens[i]], 0, net.device)
            losses.append(functional.cross_entropy(net(ids, mask), torch.tensor([examples.targets[i]])))
        flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(torch.stack(losses).mean(), parameters)]).double()
        if groups == "all":
            clipped += bool(flat.norm() > clip)
            total += flat * min(1.0, clip * SAFE / float(flat.norm()))
            continue
        for part in (slice(0, factors), slice(factors, None)):
            total[part] += flat[part] * min(1.0, clip * SAFE / 2**0.5 / float(flat[part].norm()))
    return total, clipped


@ENGINES
@pytest.mark.parametrize("micro", [1, 3, 32])
@pytest.mark.parametrize("parts", [("B",), ("A", "B"), ("B", "head"), ("A", "B", "head")])
@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("bert", "native"), ("roberta", "native"), ("gpt2", "native")]
)
def test_gradients_are_those_of_one_person_at_a_time(
    folders, persons, monkeypatch, kind, pooling, parts, micro, engine
):
    """In float64 to the last bits; about half of the persons clipped; no micro-batch cuts one in two."""
    in_microbatches_of(monkeypatch, micro)
    net = net_of(folders[kind], pooling).to(torch.float64)
    rows = np.arange(len(persons))
    each = [one_person_at_a_time(net, persons, rows[persons.persons == p], parts, 1e9)[0].norm() for p in range(6)]
    clip = float(np.median(each))
    wanted, clipped = one_person_at_a_time(net, persons, rows, parts, clip)
    assert clipped == 3
    found = clipped_sum(net, persons, rows, parts, replace(MECHANISM, clip=clip), engine=engine, per_person=99)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-12


@ENGINES
def test_groups_are_clipped_for_themselves(folders, persons, engine):
    net, rows, parts = net_of(folders["bert"]).to(torch.float64), np.arange(len(persons)), ("A", "B", "head")
    wanted, _ = one_person_at_a_time(net, persons, rows, parts, 0.01, groups="head")
    mechanism = replace(MECHANISM, clip=0.01)
    found = clipped_sum(net, persons, rows, parts, mechanism, engine=engine, groups="head", per_person=99)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-12


@ENGINES
def test_one_person_more_moves_the_sum_by_at_most_the_clip(folders, persons, engine):
    """With seven texts, too: where the unit is the example, they move it further."""
    net, parts = net_of(folders["bert"]), ("A", "B", "head")
    (most,) = np.flatnonzero(np.bincount(persons.persons) == 7)
    rows = np.arange(len(persons))
    others, moved = rows[persons.persons != most], {}
    for per_person in (0, 99):
        options = {"engine": engine, "per_person": per_person}
        mechanism = replace(MECHANISM, clip=0.01)
        with_all = clipped_sum(net, persons, rows, parts, mechanism, **options)
        moved[per_person] = float((with_all - clipped_sum(net, persons, others, parts, mechanism, **options)).norm())
    assert moved[99] <= 0.01 * (1 + 1e-5)
    assert moved[0] > 0.02


def drawn(folders, examples, steps, *, per_person, rate):
    net = net_of(folders["bert"])
    require_gradients(net, ("B",))
    flat = FlatBuffer(net, ("B",))
    engine = select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0)
    mechanism = replace(MECHANISM, rate=rate)
    return list(
        PrivateGradients(engine, flat, mechanism, SecureNoise("7"), per_person=per_person).draws(examples, steps)
    )


def test_draws_are_poisson_over_persons_and_some_of_their_examples(folders, persons):
    steps, rate = 4000, 0.3
    found = drawn(folders, persons, steps, per_person=3, rate=rate)
    counts = np.array([np.bincount(persons.persons[rows], minlength=6) for rows in found])
    assert (counts.max(0) == np.minimum(np.bincount(persons.persons), 3)).all()
    assert ((counts == 0) | (counts == counts.max(0))).all()  # all that may take part, or none
    shares = (counts > 0).mean(0)
    assert np.abs(shares - rate).max() < 5 * np.sqrt(rate * (1 - rate) / steps)
    assert abs(np.corrcoef((counts > 0).T)[0, 1]) < 0.1  # each by itself
    (most,) = np.flatnonzero(np.bincount(persons.persons) == 7)
    seven = np.flatnonzero(persons.persons == most)
    times = np.bincount(np.concatenate(found), minlength=len(persons))[seven] / (counts[:, most] > 0).sum()
    assert np.abs(times - 3 / 7).max() < 0.07  # each of the seven with the same chance
    assert all(len(set(rows.tolist())) == len(rows) for rows in found)


def test_micro_batches_keep_persons_whole():
    rng = np.random.default_rng(0)
    whose, lengths = rng.integers(0, 40, 200), rng.integers(3, 60, 200)
    rows = rng.permutation(1000)[:200]
    groups = split_whole(lengths, whose, rows, max_tokens=600, max_rows=32, pass_cost=48)
    assert sorted(np.concatenate(groups).tolist()) == sorted(rows.tolist())
    place = {row: i for i, row in enumerate(rows.tolist())}
    persons = [{int(whose[place[row]]) for row in group.tolist()} for group in groups]
    assert sum(map(len, persons)) == len(set(whose.tolist()))
    for group, some in zip(groups, persons, strict=True):
        longest = max(lengths[place[row]] for row in group.tolist())
        assert len(some) == 1 or (len(group) <= 32 and len(group) * longest <= 600)


@ENGINES
def test_a_person_whose_gradient_is_no_number_is_left_out_alone(folders, persons, engine):
    """By a head that overflows on that person's text: all others' gradients are added as without it."""
    net, parts = net_of(folders["bert"]), ("head",)
    (broken,) = np.flatnonzero(np.bincount(persons.persons) == 7)
    tokens = list(persons.tokens)
    rows = np.arange(len(persons))
    target = rows[persons.persons == broken][0]
    ids, mask = batch_of([tokens[target]], 0, net.device)
    with torch.no_grad():
        pooled = net.pooled(ids, mask)[0].double().numpy()
        others = [net.pooled(*batch_of([tokens[i]], 0, net.device))[0].double().numpy() for i in rows if i != target]
    # A direction in which that text is longest, so steep that its output alone leaves float32.
    steep = pooled - np.mean(others, axis=0)
    reach, most = steep @ pooled, max(float(steep @ one) for one in others)
    head = np.zeros((4, len(pooled) + 1))
    head[0, :-1] = steep * 3.4e38 * 1.2 / reach
    if not most * 1.2 / reach < 0.99:
        pytest.skip("another text is as long in that direction")
    weight, bias = head[:, :-1].reshape(-1), head[:, -1]
    net.set("head", np.concatenate([weight, bias]).astype(np.float32), net.layout)
    mechanism = replace(MECHANISM, clip=0.1)
    whole = clipped_sum(net, persons, rows, parts, mechanism, engine=engine, per_person=99)
    without = clipped_sum(net, persons, rows[persons.persons != broken], parts, mechanism, engine=engine, per_person=99)
    assert torch.isfinite(whole).all()
    assert float((whole - without).norm()) <= 0.1 * (1 + 1e-5)
    assert float(without.norm()) > 0.1
