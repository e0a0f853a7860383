"""What a sum that nobody sees into costs: bytes and seconds of a round, for a client and the server, by their number.

    python benchmarks/secure_sum.py --members 3 10 100 1000

All of a round is done, by the functions that clients and servers call: each member's masks, a tenth lost before its
words came, a tenth after, the recovery of their masks. The sum is compared with the plain one. Beside it stands the
time that it takes to add the same words without masks. Seconds are of one thread.
"""

import argparse
import sys
import time
import tracemalloc

import numpy as np

from bract.secure_sum.masks import Context, mask
from bract.secure_sum.setup import KEY, SEALED, Keys, Parameters, Secrets, box_of, print_of
from bract.secure_sum.shamir import SHARE
from bract.secure_sum.vector import HEADER, Shape, Words
from server_app.secure_sum.recovering import Answer, unmask


def main() -> int:
    """A row for each number of members."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[3, 10, 100])
    parser.add_argument("--values", type=int, default=36_864, help="values of a client (default: the demo's B)")
    options = parser.parse_args()
    print(f"{options.values:,} values in words of 32 bits; times in milliseconds, bytes of one client and round")
    print(
        "members  shares with  | client: keys  boxes  masks  shares | server: plain sum  unmask  memory MB |"
        " bytes: words  set-up up  down  round up  down"
    )
    for members in options.members:
        print(row(members, options.values), flush=True)
    return 0


def row(n: int, values: int) -> str:
    """All of one round of so many members."""
    parameters = Parameters.of("benchmark", 1, range(n), 1, 1)
    secrets = [Secrets(i.to_bytes(KEY, "little")) for i in range(n)]
    start = time.process_time()
    keys = [one.keys(parameters) for one in secrets]
    keys_ms = (time.process_time() - start) / n * 1e3
    print_ = print_of(parameters, [one.to_bytes() for one in keys])
    near = parameters.neighbours(print_)
    start = time.process_time()
    boxes = [one.boxes(parameters, i, keys, print_) for i, one in enumerate(secrets)]
    boxes_ms = (time.process_time() - start) / n * 1e3

    shape = Shape(values, 32, 4, bytes(8))
    context = Context(1, print_, bytes(KEY))
    before, after = (n - parameters.survivors) // 2, (n - parameters.survivors) // 2
    asked, alive = range(n), range(before, n)
    publics = {i: one.masks[0] for i, one in enumerate(keys)}
    tracemalloc.start()
    total, plain = Words.zeros(shape), Words.zeros(shape)
    masks_s = plain_s = 0.0
    rng = np.random.default_rng(0)
    for member in alive:
        words = Words.of(shape, rng.integers(-(2**20), 2**20, values), [1, 2, 3, 4])
        start = time.process_time()
        plain.add(words)
        plain_s += time.process_time() - start
        start = time.process_time()
        one = secrets[member]
        mask(words, context, member, one.mask(1), one.own(1), near[member], publics)
        masks_s += time.process_time() - start
        total.add(words)
    helping = range(before + after, n)
    start = time.process_time()
    answers = {i: answered(i, secrets, keys, boxes, parameters, print_, near, set(alive)) for i in helping}
    shares_ms = (time.process_time() - start) / len(helping) * 1e3
    start = time.process_time()
    unmask(total, context, parameters, keys, asked, alive, answers)
    unmask_ms = (time.process_time() - start) * 1e3
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    if not (total.values == plain.values).all() or not (total.figures == plain.figures).all():
        sys.exit("the unmasked sum is not the plain one")
    count = len(near[0])
    up, down = len(keys[0].to_bytes()) + len(boxes[0]), n * len(keys[0].to_bytes())
    return (
        f"{n:>7}  {count:>11}  | {keys_ms:>12.1f} {boxes_ms:>6.0f} {masks_s / len(alive) * 1e3:>6.1f} {shares_ms:>7.1f}"
        " |"
        f" {plain_s * 1e3:>17.0f} {unmask_ms:>7.0f} {peak:>10.1f} |"
        f" {HEADER.size + shape.size:>12,} {up:>10,} {down:>5,} {SHARE * (count + 1):>9,} {SEALED * count:>5,}"
    )


def answered(
    member: int,
    secrets: list[Secrets],
    keys: list[Keys],
    boxes: list[bytes],
    parameters: Parameters,
    print_: bytes,
    near: tuple[tuple[int, ...], ...],
    alive: set[int],
) -> Answer:
    """A member's part in unmasking, its boxes opened as it does."""
    shares = {}
    for sender in near[member]:
        box = box_of(boxes[sender], parameters, near[sender], member, 1)
        found = secrets[member].opened(box, sender, member, 1, keys[sender].box, print_)
        shares[sender] = found[1] if sender in alive else found[0]
    (shares[member],) = secrets[member].shares("self" if member in alive else "mask", 1, parameters, [member])
    return Answer(shares)


if __name__ == "__main__":
    sys.exit(main())
