"""Toom-Cook matrices for short correlations, the arithmetic below Winograd convolution.

Sources: Winograd 1980, *Arithmetic Complexity of Computations*; Lavin & Gray 2016, *Fast
Algorithms for Convolutional Neural Networks*, for the form F(m, r): y = A^T [(G g) . (B^T d)].
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

# Small magnitudes and inverses in pairs keep the rounding error low; infinity is the last point.
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)


class Matrices(NamedTuple):
    """A^T (m, n), G (n, r) and B^T (n, n) of F(m, r), n = m + r - 1; float64."""

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


def matrices(outputs: int, taps: int) -> Matrices:
    """The matrices of F(outputs, taps): `outputs` values of a correlation with `taps` taps.

    They evaluate polynomials at the first outputs + taps - 2 of `POINTS` and at infinity. The
    correlation is the transpose of the product of polynomials, so B^T holds the coefficients of
    the Lagrange numerators, and G takes their denominators.

    Raises:
        ValueError: when there are more values than points.
    """
    size = outputs + taps - 1
    if size > len(POINTS) + 1:
        raise ValueError(f"F({outputs}, {taps}): needs {size} points, have {len(POINTS) + 1}")
    points = np.array(POINTS[: size - 1], dtype=float)
    a, g, b = np.zeros((outputs, size)), np.zeros((size, taps)), np.zeros((size, size))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        a[:, row] = point ** np.arange(outputs)
        g[row] = point ** np.arange(taps) / np.prod(point - others)
        b[row, :-1] = polynomial.polyfromroots(others)
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = polynomial.polyfromroots(points)
    return Matrices(a, g, b)
