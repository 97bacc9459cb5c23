"""Who claims whom among images that share labels and edges: as comparing all with all says, in linear work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.dedup.claim_kernels import GONE
from pipelines.stages.dedup.claiming import NO_LIMIT, Claims, Neighbourhood, claim


@dataclass(frozen=True)
class Graph:
    """Labels of each image, edges between labels, the order of the images and which are gone."""

    labels: list[set[int]]
    edges: dict[tuple[int, int], int]
    order: list[int]
    gone: set[int]

    def claim(self, limit: int | None) -> Claims:
        members = [(image, label) for image, labels in enumerate(self.labels) for label in sorted(labels)]
        images, labels = np.array(members, np.int32).reshape(-1, 2).T
        ends = np.array(list(self.edges), np.int32).reshape(-1, 2).T
        num_labels = 1 + max([-1, *labels.tolist(), *ends.reshape(-1).tolist()])
        edges = ends[0], ends[1], np.array(list(self.edges.values()), np.int32)
        found = Neighbourhood.of(len(self.labels), num_labels, (images, labels), edges)
        is_gone = np.isin(np.arange(len(self.labels)), list(self.gone))
        return claim(found, np.array(self.order, np.int32), is_gone, limit)

    def step(self, i: int, j: int) -> int | None:
        """Bits between two images that are next to each other."""
        if self.labels[i] & self.labels[j]:
            return 0
        pairs = [(a, b) for a in self.labels[i] for b in self.labels[j]]
        steps = [self.edges[pair] for a, b in pairs for pair in ((a, b), (b, a)) if pair in self.edges]
        return min(steps, default=None)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 12 images with up to 3 of 10 labels each."""
    count = draw(st.integers(0, 12))
    label = st.integers(0, 9)
    labels = [draw(st.sets(label, min_size=1, max_size=3)) for _ in range(count)]
    used = sorted(set().union(*labels)) if labels else []
    pairs = [(a, b) for a in used for b in used if a < b]
    chosen = draw(st.sets(st.sampled_from(pairs), max_size=12)) if pairs else set()
    edges = {pair: draw(st.integers(0, 5)) for pair in sorted(chosen)}
    order = draw(st.permutations(range(count)))
    return Graph(
        labels, edges, list(order), draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=2)) & {*range(count)}
    )


@given(graphs())
def test_stars_are_the_greedy_ones(graph: Graph) -> None:
    """In order, an image goes to the first survivor that it is next to, or survives; who is gone has no say."""
    claims = graph.claim(None)
    survivors: list[int] = []
    for image in (each for each in graph.order if each not in graph.gone):
        owner = next((each for each in survivors if graph.step(each, image) is not None), None)
        if owner is None:
            survivors.append(image)
        assert claims.survivors[image] == (image if owner is None else owner)
        assert claims.distances[image] == (0 if owner is None else graph.step(owner, image))
    assert all(claims.survivors[image] == GONE for image in graph.gone)


@pytest.mark.parametrize("limit", [0, 4, NO_LIMIT])
@given(graphs())
def test_components_are_the_chains_within_the_limit(limit: int, graph: Graph) -> None:
    """In order, an image without a survivor claims all that chains of such images within the limit lead to."""
    claims = graph.claim(limit)
    left = [each for each in graph.order if each not in graph.gone]
    while left:
        reach = {left[0]: 0}
        for _ in left:
            for i in list(reach):
                for j in left:
                    step = graph.step(i, j)
                    if step is not None and reach[i] + step <= min(limit, reach.get(j, limit)):
                        reach[j] = reach[i] + step
        for image, distance in reach.items():
            assert (claims.survivors[image], claims.distances[image]) == (left[0], distance)
        left = [each for each in left if each not in reach]


def test_many_copies_and_a_long_chain_are_linear_work() -> None:
    """A million images of one label, and a chain of a million images one step apart, end soon in both modes."""
    count = 1_000_000
    order = np.random.default_rng(1).permutation(count).astype(np.int32)
    index, nobody = np.arange(count, dtype=np.int32), np.zeros(count, np.bool_)
    none = np.empty(0, np.int32)
    copies = Neighbourhood.of(count, 1, (index, np.zeros(count, np.int32)), (none, none, none))
    chain = Neighbourhood.of(count, count, (index, index), (index[:-1], index[1:], np.ones(count - 1, np.int32)))
    for limit in (None, 5, NO_LIMIT):
        assert set(claim(copies, order, nobody, limit).survivors.tolist()) == {order[0]}
        survivors = claim(chain, order, nobody, limit).survivors
        assert (survivors >= 0).all()
        assert np.abs(survivors - index).max() <= (1 if limit is None else limit)
