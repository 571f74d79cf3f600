"""Records what scipy and numpy compute, for src/measure/statistics to be held against.

Recorded 2026-11-25 with Python's `python3 -m venv v && v/bin/pip install scipy==1.17.1` by
`v/bin/python tests/data/statistics/reference.py > tests/data/statistics/reference.json`.
"""

import json
import sys

import numpy
import scipy
from scipy import stats

generator = numpy.random.default_rng(20261125)


def drawn(size, scale=1.0, digits=3):
    return [round(float(v), digits) for v in scale * generator.lognormal(0.5, 0.2, size)]


def sample(values):
    resampled = stats.bootstrap(
        (numpy.array(values),), numpy.median, n_resamples=200_000, method="percentile",
        rng=numpy.random.default_rng(1), batch=20_000,
    ).bootstrap_distribution
    n = len(values)
    tail = stats.norm.cdf(-numpy.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    low, high = numpy.quantile(values, [0.25, 0.75])
    fence = lambda k: [
        i for i, v in enumerate(values)
        if v < low - k * (high - low) or v > high + k * (high - low)
    ]
    trend = stats.kendalltau(range(len(values)), values, method="asymptotic")
    return {
        "values": values,
        "median": float(numpy.median(values)),
        "quantiles": [float(numpy.quantile(values, q)) for q in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0)],
        "outside": fence(1.5),
        "far_out": fence(3.0),
        # Around the expanded percentiles: two resamplings never agree to the last digit.
        "tail": float(tail),
        "bootstrap_low": [float(numpy.quantile(resampled, q * tail)) for q in (0.7, 1.3)],
        "bootstrap_high": [float(numpy.quantile(resampled, 1 - q * tail)) for q in (1.3, 0.7)],
        "slope": float(stats.theilslopes(values).slope),
        "kendall_p": float(trend.pvalue),
    }


def pair(first, second):
    u = stats.mannwhitneyu(first, second, alternative="two-sided", method="auto")
    return {"first": first, "second": second, "p": float(u.pvalue)}


def paired(values):
    """The pseudomedian, and where Wilcoxon's signed-rank test stops calling a centre wrong at 5 %."""
    values = numpy.array(values)
    i, j = numpy.triu_indices(len(values))
    averages = numpy.sort((values[i] + values[j]) / 2)
    between = (averages[:-1] + averages[1:]) / 2
    method = "exact" if len(values) <= 50 else "asymptotic"
    kept = [stats.wilcoxon(values - c, method=method, correction=True).pvalue > 0.05 for c in between]
    return {
        "values": [float(v) for v in values],
        "pseudomedian": float(numpy.median(averages)),
        "low": float(averages[kept.index(True)]),
        "high": float(averages[len(kept) - kept[::-1].index(True)]),
    }


json.dump(
    {
        "scipy": scipy.__version__,
        "numpy": numpy.__version__,
        "samples": [
            sample(drawn(6)),
            sample(drawn(7)),
            sample(drawn(10)),
            sample(drawn(11, digits=1)),
            sample(drawn(30)),
            sample(drawn(40, digits=1) + [9.5, 3.4]),
            sample(sorted(drawn(12))),
            sample(drawn(200)),
        ],
        "pairs": [
            pair(drawn(5), drawn(5)),
            pair(drawn(8), drawn(8, 1.2)),
            pair(drawn(3), drawn(40, 1.3)),
            pair(drawn(10), drawn(10, 1.1)),
            pair(drawn(10, digits=1), drawn(10, 1.2, digits=1)),
            pair(drawn(6, digits=1), drawn(7, 1.2, digits=1)),
            pair(drawn(60), drawn(50, 1.1)),
            pair(drawn(60), drawn(50, 3.0)),
        ],
        "paired": [paired(drawn(n, digits=6)) for n in (6, 7, 10, 20, 50, 80)],
    },
    sys.stdout,
    indent=1,
)
