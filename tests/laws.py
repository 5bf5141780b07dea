"""How sure the tests of a law are: one comparison fails by chance once in a hundred million runs.

So a test with up to a hundred of them fails once in a million.  A fixed seed is no excuse: torch
draws other numbers on another processor or in another version, and a training carries the last
digit of a sum on to its results.  NumPy's generators draw the same numbers everywhere; what is
computed of them without a training is the same up to rounding, and needs no chance.
"""

STANDARD_ERRORS = 6
"""A Gaussian statistic is farther from its expectation twice in a thousand million draws."""
UNLIKELY = 1e-8
"""A p-value below it refutes a law."""
