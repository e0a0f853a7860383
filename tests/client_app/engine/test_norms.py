import math

import numpy as np
import pytest
import torch

from client_app.engine.norms import LANE, squared_norms
from client_app.privacy.clip import SAFE, Clip


@pytest.mark.parametrize("width", [3, LANE, 5 * LANE + 7, 20 * 2**20])
def test_a_long_gradient_does_not_slip_past_the_clip(width):
    """The length of twenty million numbers in one sum of float32 comes out short by some ten-thousandths."""
    rows = torch.full((2, width), 0.01)
    rows[1] *= 3
    exact = 0.01 * math.sqrt(width) * np.array([1, 3])
    assert np.abs(squared_norms(rows).sqrt().numpy() / exact - 1).max() < (1 - SAFE) / 5
    clip = Clip(exact[0])
    scales = clip.scales(torch.stack([squared_norms(rows), torch.zeros(2, dtype=torch.float64)]))[0]
    assert (scales.numpy() * exact <= exact[0]).all()
