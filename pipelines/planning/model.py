"""The arithmetic of a plan: how many rows reach each stage, and what they cost there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipelines.planning.assumptions import Assumptions, Matches
from pipelines.recipes import Recipe
from wit.balancing import effective_cap

_GB = 1e9
_HOURS_A_MONTH = 730.0
_RANK_SHIFT = 1_000.0
_MOST_CRAWLS = 1e6


@dataclass(frozen=True)
class Cost:
    """One stage of a plan."""

    stage: str
    num_in: float
    num_out: float
    core_hours: float
    read_bytes: float
    """From outside the run: archives and the web."""
    disk_bytes: float
    """What the stage leaves in the run."""


@dataclass(frozen=True)
class Plan:
    """What a run over `crawls` crawls costs."""

    crawls: float
    costs: tuple[Cost, ...]
    num_requests: float
    requests_a_host: float
    """On average."""
    requests_busiest_host: float
    days_busiest_host: float
    """At the recipe's connections and requests to one host, and no longer than the recipe waits for it."""
    days_of_cores: float
    days_of_network: float
    dollars: dict[str, float]

    @property
    def num_packed(self) -> float:
        """Pairs in the shards."""
        return self.costs[-1].num_out

    @property
    def days(self) -> float:
        """The longest of what must wait for cores, network and the busiest host."""
        return max(self.days_busiest_host, self.days_of_cores, self.days_of_network)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        sums = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "costs"}
        return sums | {
            "num_packed": self.num_packed,
            "days": self.days,
            "stages": [asdict(cost) for cost in self.costs],
        }


def kept_share(num_pairs: float, cap: int, matches: Matches) -> float:
    """Return the share of matched pairs that balancing keeps at a cap.

    A query with n matches keeps each with min(1, cap / n); a pair goes when all of its independent matches drop it.
    """
    ranks = np.arange(1, int(matches.num_queries) + 1)
    shares = (ranks + _RANK_SHIFT) ** -2.0
    shares /= shares.sum()
    counts = shares * max(num_pairs, 1.0) * matches.a_pair
    kept = float((shares * np.minimum(1.0, cap / counts)).sum())
    return 1.0 - float((1.0 - min(kept, 1.0)) ** matches.independent_a_pair)


def plan(recipe: Recipe, assumptions: Assumptions, crawls: float) -> Plan:
    """Return what a run of a recipe over so many crawls costs."""
    pages = assumptions.crawl.pages * _distinct(assumptions, crawls)
    # A further crawl is read whole, though most of its pages are known.
    wat_bytes = assumptions.crawl.pages * crawls * assumptions.crawl.wat_bytes_a_page
    flow = _flow(recipe, assumptions, pages * assumptions.crawl.candidates_a_page)
    costs = _costs(assumptions, flow, wat_bytes)
    return _total(recipe, assumptions, crawls, costs)


def _distinct(assumptions: Assumptions, crawls: float) -> float:
    """Return how many crawls' worth of distinct pages, and so of hosts, there are in so many."""
    return min(crawls, 1.0) + max(crawls - 1.0, 0.0) * assumptions.crawl.new_share


def crawls_for(recipe: Recipe, assumptions: Assumptions, num_pairs: float) -> float | None:
    """Return how many crawls give so many packed pairs, to 1 in 1,000; None: no number of them does."""
    low, high = 0.0, 1.0
    while plan(recipe, assumptions, high).num_packed < num_pairs:
        low, high = high, high * 2
        if high > _MOST_CRAWLS:
            return None
    while high - low > high / 1_000:
        middle = (low + high) / 2
        low, high = (low, middle) if plan(recipe, assumptions, middle).num_packed >= num_pairs else (middle, high)
    return high


def _flow(recipe: Recipe, assumptions: Assumptions, candidates: float) -> dict[str, tuple[float, float]]:
    """Return (rows in, rows out) of each stage."""
    shares, cap = assumptions.shares, recipe.balance.cap
    flow: dict[str, tuple[float, float]] = {}
    num = candidates
    for stage in ("extract", "filter_text", "match"):
        flow[stage] = (num, num := num * getattr(shares, stage))
    matched = num
    wide = effective_cap(cap, recipe.balance.oversample)
    flow["balance"] = (num, num := num * kept_share(num, wide, assumptions.matches))
    left = shares.fetch * shares.filter_image * shares.dedup * shares.overlap
    for stage in ("fetch", "filter_image", "fingerprint", "dedup", "overlap"):
        flow[stage] = (num, num := num * getattr(shares, stage, 1.0))
    exact = matched * left * kept_share(matched * left, recipe.pack.cap or cap, assumptions.matches)
    flow["pack"] = (num, min(num, exact))
    return flow


def _costs(assumptions: Assumptions, flow: dict[str, tuple[float, float]], wat_bytes: float) -> tuple[Cost, ...]:
    rates, sizes = assumptions.rates, assumptions.sizes
    fetched = flow["fetch"][1]
    read = {"extract": wat_bytes, "fetch": fetched * sizes.body}
    disk = {
        **{stage: flow[stage][0] * getattr(sizes, stage) for stage in ("extract", "filter_text", "match", "balance")},
        "fetch": fetched * (sizes.image + sizes.facts),
        "pack": flow["pack"][1] * (sizes.image + sizes.facts),
    }
    seconds = {stage: num_in / 1e6 * getattr(rates, f"{stage}_s", 0.0) for stage, (num_in, _) in flow.items()}
    seconds["extract"] = wat_bytes / _GB * rates.extract_s_a_gb
    seconds["dedup"] += (flow["dedup"][0] / 1e6) ** 2 * rates.dedup_pairs_s
    return tuple(
        Cost(stage, num_in, num_out, seconds[stage] / 3600, read.get(stage, 0.0), disk.get(stage, 0.0))
        for stage, (num_in, num_out) in flow.items()
    )


def _total(recipe: Recipe, assumptions: Assumptions, crawls: float, costs: tuple[Cost, ...]) -> Plan:
    machine, prices, web = assumptions.machine, assumptions.prices, assumptions.web
    hosts = max(assumptions.crawl.hosts * _distinct(assumptions, crawls), 1.0)
    urls = next(cost.num_in for cost in costs if cost.stage == "fetch")
    requests = urls + min(hosts, urls)  # and robots.txt of each host
    core_hours = sum(cost.core_hours for cost in costs)
    read = sum(cost.read_bytes for cost in costs)
    disk = sum(cost.disk_bytes for cost in costs)
    busiest = urls * web.busiest_host_share
    days_cores = core_hours / max(machine.cores, 1e-9) / 24
    days_network = read * 8 / max(machine.network_gbit_s * 1e9, 1e-9) / 86_400
    host_s = busiest * max(web.request_s / recipe.fetch.per_host, 1 / (recipe.fetch.host_rate or math.inf))
    days_host = min(host_s, recipe.fetch.max_host_s) / 86_400
    months = max(days_cores, days_network, days_host) * 24 / _HOURS_A_MONTH
    dollars = {
        "cores": core_hours * prices.core_hour,
        "disk": disk / _GB * prices.disk_gb_month * months,
        "network": read / _GB * prices.in_gb,
    }
    return Plan(
        crawls,
        costs,
        requests,
        urls / min(hosts, max(urls, 1.0)),
        busiest,
        days_host,
        days_cores,
        days_network,
        dollars,
    )
