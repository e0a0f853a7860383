"""How many steps a client trains in a round."""

from bract.settings.schema import TrainSettings


def steps_of(train: TrainSettings, examples: int) -> int:
    """Steps in a round for a client with this many examples."""
    return train.steps or train.epochs * -(-examples // train.batch)


def probe_steps(train: TrainSettings, examples: int) -> int:
    """Steps of a probe: one epoch.

    Where `train.steps` rules instead of epochs, at most a fifth of them: LoRA-A2 probes for one epoch
    and trains for five.
    """
    epoch = -(-examples // train.batch)
    return min(epoch, -(-train.steps // 5)) if train.steps else epoch
