"""What a private training is done with."""

from dataclasses import dataclass

from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise


@dataclass(frozen=True)
class Private:
    """How the gradients of a private training are made."""

    mechanism: Mechanism
    noise: SecureNoise
    groups: str = "all"
