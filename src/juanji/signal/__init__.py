"""Signals, sums of chance and products of polynomials: convolution of plain arrays, and the same operator seen as other things.

convolve, correlate     n-D arrays, by SciPy's conventions
superpose               every element of one signal launches a copy of another
polynomial_product      the same sums, exact for integers and fractions
distribution_of_sum     the sum of independent random variables
convolve_continuous     ∫ f(τ) g(t − τ) dτ with an estimate of its error, and `production`, ∫ f alone
"""

from juanji.signal.arrays import convolve, correlate
from juanji.signal.chance import SumDistribution, distribution_of_sum
from juanji.signal.continuous import Integral, convolve_continuous, production
from juanji.signal.polynomials import polynomial_product
from juanji.signal.superposition import Superposition, superpose

__all__ = [
    "Integral",
    "SumDistribution",
    "Superposition",
    "convolve",
    "convolve_continuous",
    "correlate",
    "distribution_of_sum",
    "polynomial_product",
    "production",
    "superpose",
]
