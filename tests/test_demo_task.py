"""The demo's data is a task: words alone do not solve it, the fine-tuned model does."""

import pytest

from benchmarks.learning import alone_or_central, bag_of_words


@pytest.mark.long
def test_a_bag_of_words_stays_clearly_below_the_fine_tuned_model(capsys):
    words = bag_of_words(0)
    # LoRA and head on the pooled texts, two passes: what the data and the base model have in them.
    rates = {"train.lr": 0.003, "train.lr-ratio": 1.0, "train.batch": 16, "train.steps": 0, "rounds": 2}
    tuned = alone_or_central(rates, 0, central=True, everything=True)
    with capsys.disabled():
        print(f"\nbag of words {words:.3f}, fine-tuned {tuned:.3f}")
    assert tuned > words + 0.05
