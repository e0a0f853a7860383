"""What members sign of a round before it is unmasked."""

from collections.abc import Sequence

from bract.secure_sum.setup import Parameters, info


def confirmed(parameters: Parameters, print_: bytes, number: int, context: str, survivors: Sequence[int]) -> bytes:
    """The statement: in this set-up and round, of this context, these are the survivors."""
    return b"".join(
        (
            info("confirm", parameters.generation, number, len(survivors), *survivors),
            parameters.federation.encode(),
            print_,
            bytes.fromhex(context),
        )
    )
