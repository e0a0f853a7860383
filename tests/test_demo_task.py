"""The demo's data is a task: words alone do not solve it, the fine-tuned model does."""

import pytest

from benchmarks.learning import alone_or_central, bag_of_words


@pytest.mark.long
def test_a_bag_of_words_stays_clearly_below_the_fine_tuned_model(capsys):
    words = bag_of_words(0)
    # The demo's own adapter and rates, on the pooled texts, for about as many examples as the demo's rounds.
    tuned = alone_or_central({}, 0, central=True)
    with capsys.disabled():
        print(f"\nbag of words {words:.3f}, fine-tuned {tuned:.3f}")
    assert tuned > words + 0.05
