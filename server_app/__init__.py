"""What runs beside the SuperLink: joining, rounds, checkpoints, evaluation, export."""
