"""Shares of a secret: the prime, literal values, and what too few of them say."""

import random
from contextlib import suppress
from itertools import combinations

import pytest

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.setup import COEFFICIENT, derived, info

SECRET = bytes(range(32))


def is_prime(n: int) -> bool:
    """Miller and Rabin, with forty random bases."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (random.Random(i).randrange(2, n - 1) for i in range(40)):
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def test_the_prime_is_the_first_above_256_bits():
    assert shamir.PRIME == 2**256 + 297
    assert is_prime(shamir.PRIME)
    assert not any(is_prime(2**256 + more) for more in range(1, 297))
    assert is_prime(2**255 - 19)  # the test knows a prime
    assert not is_prime(561)


def test_literal_shares():
    stream = derived(bytes(32), info("deal mask", 0), length=COEFFICIENT)
    shares = shamir.deal(SECRET, [int.from_bytes(stream, "little") % shamir.PRIME], [1, 2, 3])
    assert [f"{int.from_bytes(one, 'little'):x}" for one in shares] == [
        "aa97d104353f9295caf8284ab420288a34213d11545bb732161f3f6341ac2511",
        "361184ec4f650c137eda3b81552e400459346d169dad655c253879c2805647f9",
        "c18b38d4698a859132bc4eb7f63c577e7e479d1be6ff13863451b421bf006c0a",
    ]
    assert shamir.recover({1: shares[0], 3: shares[2]}) == SECRET


def test_any_so_many_shares_give_the_secret_and_fewer_or_a_wrong_one_do_not():
    rng = random.Random(0)
    for secret in (bytes(32), b"\xff" * 32, rng.randbytes(32)):
        shares = shamir.deal(secret, [rng.randrange(shamir.PRIME) for _ in range(3)], range(1, 8))
        for points in combinations(range(1, 8), 4):
            assert shamir.recover({x: shares[x - 1] for x in points}) == secret
        few = {x: shares[x - 1] for x in (1, 4, 6)}
        wrong = {**few, 7: (int.from_bytes(shares[6], "little") ^ 1).to_bytes(33, "little")}
        for chosen in (few, wrong):
            found = None
            with suppress(BractError):  # a number above all secrets is as wrong
                found = shamir.recover(chosen)
            assert found != secret


def test_fewer_shares_fit_every_secret():
    """With so many shares less one, each other secret is as possible as the right one: some polynomial gives it."""
    rng = random.Random(1)
    coefficients = [rng.randrange(shamir.PRIME) for _ in range(2)]
    shares = shamir.deal(SECRET, coefficients, [2, 5])
    for other in (bytes(32), rng.randbytes(32)):
        # The line through what is left of the shares after the other secret is taken away.
        rest = [(int.from_bytes(s, "little") - int.from_bytes(other, "little")) for s in shares]
        slopes = [value * pow(x, -1, shamir.PRIME) % shamir.PRIME for value, x in zip(rest, (2, 5), strict=True)]
        second = (slopes[1] - slopes[0]) * pow(3, -1, shamir.PRIME) % shamir.PRIME
        first = (slopes[0] - 2 * second) % shamir.PRIME
        assert shamir.deal(other, [first, second], [2, 5]) == shares


def test_a_number_above_all_secrets_is_an_error():
    above = [(2**256 + 5).to_bytes(shamir.SHARE, "little")] * 2
    with pytest.raises(BractError, match="do not give a secret"):
        shamir.recover({1: above[0], 2: above[1]})
