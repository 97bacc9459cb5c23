"""The statistics of the overlap analysis (CLIP, arXiv 2103.00020, section 5)."""

from __future__ import annotations


def clopper_pearson(successes: float, trials: float, confidence: float = 0.995) -> tuple[float, float]:
    """Return the exact two-sided confidence interval (low, high) of a binomial proportion.

    Clopper and Pearson, Biometrika 26 (1934): quantiles of the beta distribution at (1 - confidence) / 2 and its
    complement. The default is the paper's 99.5 %. No trials say nothing: (0, 1). Both numbers may be no whole ones: of
    a mean that is worth so many trials (Korn and Graubard, Survey Methodology 24, 1998).
    """
    from scipy.stats import beta

    assert 0 <= successes <= trials
    assert 0 < confidence < 1
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.isf(tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Return the one-tailed p-value P(X >= successes) of X ~ Binomial(trials, probability).

    The paper's test that accuracy on overlapping items exceeds `probability`, the accuracy on clean ones.
    """
    from scipy.stats import binom

    assert 0 <= successes <= trials
    return float(binom.sf(successes - 1, trials, probability))


def fisher_p_value(successes: int, trials: int, other_successes: int, other_trials: int) -> float:
    """Return the one-tailed p-value of Fisher's exact test that `successes` of `trials` are more than by chance.

    P(X >= successes) where the successes of both groups are dealt out at random: X is hypergeometric. Unlike
    `binomial_p_value` it knows that the other group's proportion is an estimate too. R. A. Fisher, "The logic of
    inductive inference", JRSS 98 (1935).
    """
    from scipy.stats import hypergeom

    assert 0 <= successes <= trials
    assert 0 <= other_successes <= other_trials
    together = successes + other_successes
    return float(hypergeom.sf(successes - 1, trials + other_trials, together, trials))
