"""FedSA: what is in a message, and what stays."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Tensor
from bract.settings.schema import StrategySettings
from strategies import Member, create
from tests.flower.messages import stamp
from tests.strategies.exchange import PAIR, PAIR_A, PAIR_B, federation, merged, reply, sent

PARTS = {"A": PAIR_A, "B": PAIR_B}
HEADED = Layout(PAIR.modules, 2, (Tensor("b", (2,)),))


@pytest.mark.parametrize(
    ("head", "travels", "keeps"),
    [("frozen", ("A",), ("B",)), ("shared", ("A", "head"), ("B",)), ("local", ("A",), ("B", "head"))],
)
def test_b_stays_and_a_travels(head, travels, keeps):
    plan = create("fedsa", federation(HEADED, head=head)).plan(1, Member(0, 10))
    assert (plan.sends, plan.receives, plan.keeps) == (travels, travels, keeps)
    assert set(plan.trains) == {"A", "B"} | ({"head"} if head != "frozen" else set())


def test_the_merge_by_hand():
    fedsa = create("fedsa", federation(PAIR, clients=3))
    a = [[4, 0, 0, 0, 8, 0], [0, 4, 0, 0, 0, 0], [2, 2, 2, 2, 0, 4]]
    replies = [reply(m, PAIR, examples=n, A=v) for m, n, v in zip(sent(fedsa, 1, PARTS), (1, 1, 2), a, strict=True)]
    found = merged(fedsa, replies)
    assert found["A"].tolist() == [2, 2, 1, 1, 2, 2]
    assert found["B"].tolist() == PAIR_B.tolist()
    assert "distance_A" in fedsa.diagnostics
    assert "distance_B" not in fedsa.diagnostics  # the server cannot know it


def test_b_may_pass_from_client_to_client():
    fedsa = create("fedsa", federation(HEADED, clients=3, head="local", strategy=StrategySettings(local_b="passed")))
    from flwr.app import ConfigRecord

    from bract.wire.messages import get_payload
    from bract.wire.payload import unpack
    from strategies.federation import to_arrays, to_parts

    start = {**PARTS, "head": np.zeros(2, np.float32)}
    seen = []

    def one_after_the_other():
        for i, message in enumerate(fedsa.configure_train(1, to_arrays(start), ConfigRecord(), None)):
            stamp(message, message_id=f"m{i}")
            down = unpack(HEADED, get_payload(message.content), round=1, parts=("A", "B", "head")).parts
            seen.append((down["A"].tolist(), down["B"][0], down["head"][0]))
            yield reply(message, HEADED, A=down["A"] + 3 * i, B=down["B"] + 1, head=down["head"] + 10)

    found = to_parts(fedsa.aggregate_train(1, one_after_the_other())[0])
    # Each starts from the last one's B and head, and all from the same A.
    assert [b for _, b, _ in seen] == [1, 2, 3]
    assert [h for _, _, h in seen] == [0, 10, 20]
    assert all(a == PAIR_A.tolist() for a, _, _ in seen)
    assert found["A"].tolist() == (PAIR_A + 3).tolist()  # the mean of +0, +3, +6
    assert found["B"].tolist() == (PAIR_B + 3).tolist()  # the last one's
    assert found["head"].tolist() == [30, 30]


def test_what_is_passed_on_is_bounded():
    fedsa = create("fedsa", federation(PAIR, clients=2, strategy=StrategySettings(local_b="passed")))
    good = {"A": PAIR_A, "B": PAIR_B}
    from flwr.app import ConfigRecord

    from strategies.federation import to_arrays, to_parts

    def hostile():
        for i, message in enumerate(fedsa.configure_train(1, to_arrays(good), ConfigRecord(), None)):
            stamp(message, message_id=f"m{i}")
            yield reply(message, PAIR, A=PAIR_A, B=np.full(6, 3e38 if i == 0 else 2.0))

    found = to_parts(fedsa.aggregate_train(1, hostile())[0])
    assert [row.status for row in fedsa.rows] == ["refused", "merged"]
    assert found["B"].tolist() == [2.0] * 6
