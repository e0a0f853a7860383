"""The server's memory does not grow with the number of replies."""

from benchmarks.merging import measured


def test_merging_a_thousand_replies_takes_no_more_memory_than_fifty():
    few, many = measured(50), measured(1000)
    assert abs(many["peak_mb"] - few["peak_mb"]) < 50
