"""Toom-Cook matrices for short correlations, the arithmetic below Winograd convolution.

Sources: Winograd 1980, *Arithmetic Complexity of Computations*; Lavin & Gray 2016, *Fast
Algorithms for Convolutional Neural Networks*, for the form F(m, r): y = A^T [(G g) . (B^T d)].
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

# Finite points by the size of the input, with infinity as the last. Pairs of p and -p or 1/p, and
# of p and -1/p, keep the numbers near 1; those for 10 and 12 were searched for little rounding.
POINTS = {
    6: (0, 1, -1, 2, -2),
    8: (0, 1, -1, 2, -2, 1 / 2, -1 / 2),
    10: (0, 2 / 5, -5 / 2, -1 / 2, 2, 4 / 5, -5 / 4, -6 / 7, 7 / 6),
    12: (0, 1, -1, 1 / 3, -3, -2 / 5, 5 / 2, 2 / 3, -3 / 2, -3 / 4, 4 / 3),
}


class Matrices(NamedTuple):
    """A^T (m, n), G (n, r) and B^T (n, n) of F(m, r), n = m + r - 1; float64."""

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


def matrices(outputs: int, taps: int) -> Matrices:
    """The matrices of F(outputs, taps): `outputs` values of a correlation with `taps` taps.

    They evaluate polynomials at `POINTS`. Correlation is the transpose of the product of
    polynomials, so B^T holds the numerators of Lagrange's interpolation; G takes its denominators.
    """
    size = outputs + taps - 1
    points = np.array(POINTS[size])
    a, g, b = np.zeros((outputs, size)), np.zeros((size, taps)), np.zeros((size, size))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        a[:, row] = point ** np.arange(outputs)
        g[row] = point ** np.arange(taps) / np.prod(point - others)
        b[row, :-1] = polynomial.polyfromroots(others)
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = polynomial.polyfromroots(points)
    return Matrices(a, g, b)
