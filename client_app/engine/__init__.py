"""What computes gradients of examples: the fused engine, and Opacus."""
