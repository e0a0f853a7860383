"""How much a client learned, as one number."""

import numpy as np

from bract.adapter.layout import Layout, Vector


def product_norm(layout: Layout, a: Vector, b: Vector) -> float:
    """‖BA‖_F over all modules together, without forming a product.

    For one module ‖BA‖_F² = tr(BᵀB · AAᵀ), two r x r matrices; the modules' squares add up.
    """
    total = 0.0
    for rows_a, rows_b in zip(layout.matrices("A", a), layout.matrices("B", b), strict=True):
        wide_a, wide_b = rows_a.astype(np.float64), rows_b.astype(np.float64)
        total += float(np.sum((wide_a @ wide_a.T) * (wide_b @ wide_b.T)))
    return float(np.sqrt(max(total, 0.0)))
