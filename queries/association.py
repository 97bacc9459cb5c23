"""How strongly two words are tied: pointwise mutual information, and its normalised form.

Both are of exact integers: each quotient is computed as integers and rounded once, and one routine takes its logarithm,
so that a number, and with it the order of a list, does not depend on which vector instructions a machine has.
"""

from __future__ import annotations

from math import log2

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_ESTIMATE_ERROR = 1e-9
"""More than an estimate is ever off: it adds five logarithms of numbers below 2^64, each wrong by less than 64 * 2^-51
whatever library computes it, and four roundings of sums below 256: under 2e-13 together."""


def pointwise_mutual_information(pair: int, first: int, second: int, num_words: int, num_pairs: int) -> float:
    """Return log2(P(xy) / (P(x) P(y))) in bits, from counts and no smoothing.

    P(xy) = pair / num_pairs and P(x) = first / num_words, maximum likelihood; Church and Hanks, "Word association
    norms, mutual information, and lexicography", 1990. The quotient is of exact integers, rounded once.
    """
    return log2((pair * num_words * num_words) / (first * second * num_pairs))


def normalised_pmi(pmi: float, pair: int, num_pairs: int) -> float:
    """Return PMI / -log2 P(xy), from -1 over 0 (as often as chance) to 1 (never apart).

    Bouma, "Normalized (pointwise) mutual information in collocation extraction", 2009. It is at most 1 when the words'
    probabilities are those of the pairs' margins; here words divide by num_words and pairs by the smaller num_pairs (a
    line of n words has n - 1 pairs), which can lift a quotient above 1 by a little: it is 1 then. Where every pair
    is this one, P(xy) = 1 and the quotient has no value: 1 too, its limit for words that are never apart.
    """
    if pair == num_pairs:
        return 1.0
    return min(pmi / -log2(pair / num_pairs), 1.0)


def associations(
    pairs: I64, firsts: I64, seconds: I64, num_words: int, num_pairs: int, min_pmi: float | None
) -> tuple[I64, F64, F64]:
    """Return the places of the bigrams with at least `min_pmi` bits (None: of all), their PMI and NPMI.

    `pairs`, `firsts` and `seconds` are the counts of the bigrams and of their words. The numbers are, to the last bit,
    those of the functions above: floating point only leaves out what is certain not to reach `min_pmi`.
    """
    kept = np.arange(len(pairs))
    if min_pmi is not None:
        estimates = np.log2(pairs) - np.log2(firsts) - np.log2(seconds) + (2 * np.log2(num_words) - np.log2(num_pairs))
        kept = kept[estimates >= min_pmi - _ESTIMATE_ERROR]
    square = num_words * num_words
    counts = pairs[kept].tolist()
    words = zip(counts, firsts[kept].tolist(), seconds[kept].tolist(), strict=True)
    # pointwise_mutual_information, written out: a call a row would double the time
    pmi = np.array([log2(pair * square / (first * second * num_pairs)) for pair, first, second in words], np.float64)
    npmi = np.array([normalised_pmi(*row, num_pairs) for row in zip(pmi.tolist(), counts, strict=True)], np.float64)
    if min_pmi is not None:
        reached = pmi >= min_pmi
        kept, pmi, npmi = kept[reached], pmi[reached], npmi[reached]
    return kept, pmi, npmi
