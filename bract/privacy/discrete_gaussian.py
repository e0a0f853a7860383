import numpy as np


def discrete_gaussian(noise, deviation, count):
    return np.rint(deviation * noise.normal(count)).astype(np.int64)
