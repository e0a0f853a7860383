"""Local training: the loop, gradients, the optimizer."""
