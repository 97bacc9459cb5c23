"""The tables of the report, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import comb

import numpy as np
import numpy.typing as npt

from benchmarks.edits import EDITS
from benchmarks.near_duplicates.counts import IS_TURN, Counts, Mask, count, count_pairs, count_turned, is_kin, is_same
from benchmarks.near_duplicates.measured import Measured
from benchmarks.near_duplicates.signs import COSINE_STEPS, HASHES, LEARNED, Array, Detector, joined
from wit.near import MIN_QUALITY

Shares = npt.NDArray[np.float64]

PHASH, _, PDQ, _ = HASHES
SHOWN = ((PHASH, 10), (PDQ, 31), (PDQ, 60))
"""Detectors and radii that are shown where there is room for few: what their authors advise, and a wider one."""
RULES = ((8, 40), (12, 60))
"""Radii of pHash and PDQ together: the rule that is advised for deduplication, and for audits."""
TAIL = (31, 40, 50, 60, 70, 76, 80, 84, 88, 90, 94, 100)
"""Radii of PDQ at which pairs of different pictures are counted."""
TOGETHER_PHASH, TOGETHER_PDQ = (6, 8, 10, 12, 14, 16), (20, 31, 40, 50, 60, 70, 80)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, its first column text and the others numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent(share: float) -> str:
    """Return a share as per cent."""
    return f"{share:.1%}".replace("%", " %")


def pictures(measured: Measured) -> str:
    """Say what was compared."""
    planted = measured.planted
    of = Counter(picture.collection for picture in planted.references)
    num_edits = len(planted.photos) * len(EDITS)
    listed = ", ".join(f"{number:,} {collection}" for collection, number in of.items())
    poor = np.concatenate([signs["quality"] for signs in planted.edits]) < 50
    num_poor = int((planted.signs["quality"] < 50).sum())
    return (
        f"{len(planted.photos):,} photos in {len(EDITS)} edits each ({num_edits:,} pictures, {int(IS_TURN.sum())} of "
        f"the edits are turns), compared with {len(planted.references):,} pictures: {listed}. PDQ's quality is below "
        f"50 for {num_poor} of those and for {percent(float(poor.mean()))} of the edited."
    )


def by_radius(measured: Measured, singles: dict[str, tuple[Detector, Counts]]) -> Iterator[str]:
    """Yield a table for detectors of as many bits: recall over all edits but turns, and false pairs."""
    for most in (64, 256):
        some = [(each, counts) for each, counts in singles.values() if each.most == most]
        rows = [[each.name, *(_found(counts, radius) for radius in each.radii)] for each, counts in some]
        unrelated, of_series = (int(each.sum()) for each in (some[0][1].false, some[0][1].kin))
        yield (
            f"{most} bits; in brackets the false pairs among {unrelated:,} comparisons of unrelated pictures, and "
            f"those among {of_series:,} of a chart with another of its series."
        )
        yield table([f"{most} bits, within", *map(str, some[0][0].radii)], rows)


def _found(counts: Counts, *radii: int) -> str:
    return f"{percent(counts.recall_of_all(*radii))} ({counts.num_false(*radii):,} + {counts.num_kin(*radii):,})"


def together(measured: Measured) -> str:
    """Return recall and false pairs when both hashes must be near, and the same with a least quality of 50."""
    parts = []
    for least in (0, MIN_QUALITY):
        counts = count([PHASH, PDQ], measured.planted, least)
        rows = [[f"pHash {one}", *(_found(counts, one, other) for other in TOGETHER_PDQ)] for one in TOGETHER_PHASH]
        rows.append(["any", *(_found(counts, PHASH.most, other) for other in TOGETHER_PDQ)])
        parts.append(table([f"least quality {least}", *(f"PDQ {other}" for other in TOGETHER_PDQ)], rows))
    return "\n\n".join(parts)


def by_edit(measured: Measured) -> str:
    """Return the share of photos found for each edit."""
    columns = [(f"{each.name} {radius}", count([each], measured.planted).recall(radius)) for each, radius in SHOWN]
    pair = count([PHASH, PDQ], measured.planted, MIN_QUALITY)
    columns += [(f"pHash {one}, PDQ {other}", pair.recall(one, other)) for one, other in RULES]
    median = np.median(pair.true[1], axis=0)
    rows = [
        [edit.name, *(percent(recall[place]) for _, recall in columns), f"{median[place]:.0f}"]
        for place, edit in enumerate(EDITS)
    ]
    return table(["edit", *(name for name, _ in columns), "PDQ, median bits"], rows)


def turns(measured: Measured) -> str:
    """Return what the eight turns of every photo add."""
    rows: list[list[object]] = []
    for detector, radius in SHOWN:
        for name, counts in (
            ("none", count([detector], measured.planted)),
            ("all", count_turned(detector, measured.planted, measured.turned)),
        ):
            of_turns = counts.recall(radius)[IS_TURN]
            false = f"{counts.false_per_million(radius):.2f}"
            rows.append([f"{detector.name} {radius}", name, *map(percent, of_turns), _found(counts, radius), false])
    names = [edit.name for edit in EDITS if edit.turns]
    return table(["within", "turns", *names, "other edits (false pairs)", "false per million"], rows)


def fast_against_exact(measured: Measured) -> str:
    """Return how many bits lie between the fast and the exact hashes of the same file, where it has detail to hash."""
    edits = joined(measured.planted.edits)
    rows: list[list[object]] = []
    for detector in (PHASH, PDQ):
        for name, signs in (("pictures as they came", measured.planted.signs), ("edited", edits)):
            apart = np.bitwise_count(signs[detector.name] ^ signs[f"{detector.name} exact"]).sum(axis=1)
            is_poor = signs["quality"] < MIN_QUALITY
            for what, which in (("", ~is_poor), (", of less quality", is_poor)):
                if not which.any():
                    continue
                shares = [percent(float((apart[which] <= bits).mean())) for bits in (0, 2, 4, 8, 16)]
                rows.append([f"{detector.name}, {name}{what}", *shares, int(apart[which].max(initial=0))])
    return table(["at most so many bits", "0", "2", "4", "8", "16", "most"], rows)


def strangers(measured: Measured) -> str:
    """Return how many pairs of different pictures lie within radii of PDQ, alone and with pHash."""
    planted = measured.planted
    kin, same = (relation(planted.references, planted.references) for relation in (is_kin, is_same))
    pair = [PHASH, PDQ]
    edits = count(pair, planted)
    sorts = {
        "edits and other pictures": edits.false,
        "edits and pictures of their series": edits.kin,
        "pictures of one series": count_pairs(pair, planted.signs, kin & ~same),
        "all other pictures": count_pairs(pair, planted.signs, ~kin & ~same),
        "CIFAR-10 test, true copies included": measured.cifar.alike(pair),
    }
    rows = [
        [f"{what} ({int(counts.sum()):,}){with_phash}", *(f"{counts[:most, : bits + 1].sum():,}" for bits in TAIL)]
        for what, counts in sorts.items()
        for most, with_phash in ((PHASH.most + 1, ""), (13, ", pHash 12"), (9, ", pHash 8"))
    ]
    return table(["pairs within, PDQ", *map(str, TAIL)], rows)


def cifar(measured: Measured) -> Iterator[str]:
    """Yield the recall of the judged pairs, and how many pairs of all test pictures are found."""
    near = measured.cifar.near()
    yield (
        f"Found of {int(near.sum())} pairs judged near-duplicates / of {int((~near).sum())} judged very similar; in "
        "brackets the pairs found among the 10,000 test pictures, which hold copies that nobody listed."
    )
    for most in (PHASH.most, PDQ.most, LEARNED.most):
        some = of_bits(measured.detectors, most)
        if some:
            yield table(["within", *map(str, some[0].radii)], [_judged(measured, each, near) for each in some])
    apart = [measured.cifar.true(detector)[near] for detector in (PHASH, PDQ)]
    alike = measured.cifar.alike([PHASH, PDQ])

    def cell(one: int, other: int) -> str:
        share = float(((apart[0] <= one) & (apart[1] <= other)).mean())
        return f"{percent(share)} ({alike[: one + 1, : other + 1].sum():,})"

    rows = [[f"pHash {one}", *(cell(one, other) for other in TOGETHER_PDQ)] for one in (*TOGETHER_PHASH, PHASH.most)]
    yield table(["near; pairs of all test pictures", *(f"PDQ {other}" for other in TOGETHER_PDQ)], rows)


def _judged(measured: Measured, detector: Detector, near: Mask) -> list[str]:
    found, alike = measured.cifar.true(detector), measured.cifar.alike([detector])

    def cell(radius: int) -> str:
        one, other = (percent(float((found[which] <= radius).mean())) for which in (near, ~near))
        return f"{one} / {other} ({alike[: radius + 1].sum():,})"

    return [detector.name, *map(cell, detector.radii)]


def of_bits(detectors: Iterable[Detector], most: int) -> list[Detector]:
    """Return the detectors with the same largest distance."""
    return [each for each in detectors if each.most == most]


def files(measured: Measured) -> str:
    """Return the distance of each of imagededup's files to the photo that it was made from."""
    hashes = [each for each in measured.detectors if each is not LEARNED]

    def row(name: str, original: str) -> list[object]:
        one, other = measured.files[name], measured.files[original]
        return [name, *(int(each.distances(one[each.name], other[each.name])[0, 0]) for each in hashes)]

    made = [(name, name.partition("_")[0] + ".jpg") for name in measured.files if "_" in name]
    return table(["bits from its original", *(each.name for each in hashes)], [row(*each) for each in made])


def learned(measured: Measured) -> Iterator[str]:
    """Yield the learned detector beside the hashes, on photos kept from its training: alone, and either of them."""
    held_out = measured.planted.held_out()
    yield f"{len(held_out.photos)} photos, {len(held_out.references)} pictures to compare with."
    alone, both = count([LEARNED], held_out), count([PHASH, PDQ], held_out, MIN_QUALITY)
    strict, loose = (_widest(alone, per_million) for per_million in (0.2, 100))
    rows = [
        [f"learned, cosine {cosine_of(radius)}", *_costs(alone.recall(radius), alone.num_false(radius), alone)]
        for radius in sorted({*LEARNED.radii, strict, loose})
    ]
    for one, other in RULES:
        rows.append(
            [f"pHash {one} and PDQ {other}", *_costs(both.recall(one, other), both.num_false(one, other), both)]
        )
    pair = count([LEARNED, PDQ], held_out)
    for radius in (strict, loose):
        rows += [
            [f"cosine {cosine_of(radius)} or PDQ 60", *_costs(*pair.either(radius, 60), pair)],
            [
                f"cosine {cosine_of(radius)} and PDQ 90",
                *_costs(pair.recall(radius, 90), pair.num_false(radius, 90), pair),
            ],
        ]
    yield table(["within", "recall", "false pairs", "false per million"], rows)
    columns = [(f"cosine {cosine_of(radius)}", alone.recall(radius)) for radius in (strict, loose)]
    columns.append(("PDQ 60", count([PDQ], held_out).recall(60)))
    columns.append((f"cosine {cosine_of(strict)} or PDQ 60", pair.either(strict, 60)[0]))
    rows = [[edit.name, *(percent(recall[place]) for _, recall in columns)] for place, edit in enumerate(EDITS)]
    yield table(["edit", *(name for name, _ in columns)], rows)


def cosine_of(radius: int) -> str:
    """Return the cosine of a distance of the learned detector."""
    return f"{1 - radius / COSINE_STEPS:.3f}"


def _widest(counts: Counts, per_million: float) -> int:
    """Return the widest radius at which at most so many of a million comparisons are false."""
    within = np.cumsum(counts.false) / counts.false.sum()
    return max(0, int(np.searchsorted(within, per_million / 1e6, side="right")) - 1)


def _costs(recall: Shares, num_false: int, counts: Counts) -> tuple[str, str, str]:
    rate = 1e6 * num_false / int(counts.false.sum())
    return percent(float(recall[~IS_TURN].mean())), f"{num_false:,}", f"{rate:.2f}"


def same_as_faiss(measured: Measured) -> str:
    """Return how many matches FAISS's exhaustive search and ours find among the edits, which must be the same."""
    import faiss

    from wit.hamming import matches_within

    edits, rows = joined(measured.planted.edits), []
    for detector, radius in ((PHASH, 10), (PDQ, 31)):
        queries, references = edits[detector.name], measured.planted.signs[detector.name]
        index = faiss.IndexBinaryFlat(detector.most)
        index.add(_bytes(references))
        limits, _, found = index.range_search(_bytes(queries), radius + 1)  # FAISS leaves the radius itself out
        by_query = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.uint64)).astype(np.int64))
        theirs = set(zip(by_query.tolist(), found.tolist(), strict=True))
        i, j, _ = matches_within(_flat(queries), _flat(references), radius)
        ours = set(zip(i.tolist(), j.tolist(), strict=True))
        rows.append([f"{detector.name} {radius}", f"{len(ours):,}", f"{len(theirs):,}", len(ours ^ theirs)])
    return table(["matches within", "ours", "FAISS", "found by one only"], rows)


def _bytes(words: Array) -> Array:
    return np.ascontiguousarray(words).view(np.uint8)


def _flat(words: Array) -> Array:
    """Return hashes as wit.hamming takes them: those of one word without an axis for it."""
    return words[:, 0] if words.shape[1] == 1 else words


def by_chance() -> str:
    """Return how many pairs of pictures that have nothing in common lie within a radius.

    Half of the bits of either hash are ones, as they are above a median: two of n bits chosen at random are 2 k apart
    with a chance of C(n/2, k)^2 / C(n, n/2), and never an odd number.
    """
    rows = []
    for name, bits, radii in (("pHash", 64, (2, 4, 6, 8, 10, 12)), ("PDQ", 256, (31, 60, 70, 80, 90))):
        for radius in radii:
            chance = sum(comb(bits // 2, half) ** 2 for half in range(radius // 2 + 1)) / comb(bits, bits // 2)
            pairs = [chance * number * (number - 1) / 2 for number in (10**6, 10**7, 4 * 10**8)]
            rows.append([f"{name} {radius}", f"{chance:.1e}", *(f"{number:.2g}" for number in pairs)])
    return table(["pairs within", "of two", "of 1 million", "of 10 million", "of 400 million"], rows)
