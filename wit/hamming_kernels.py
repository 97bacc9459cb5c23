"""The kernels of wit.hamming: words sorted by some of their bits, and sorted words compared with their neighbours.

A *word* is 64 bits of a hash, permuted: on top the bits of a *band*, below them the others, of which up to 32 at the
bottom are the *lane*. A *bucket* is the run of sorted words that agree in the band. A *join* compares all words of two
buckets whose bands differ in given bits, the *flip*: LANES words with ROWS others at a time, by their lanes first; only
where some lane is near are the whole words compared. Such a comparison may run over the end of a bucket, into the next
one or into the PADDING behind the last; what it finds there is not reported.

numba checks no bounds, so each kernel says why it stays within its arrays. Positions are below 2^32.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from wit.compiled import inlined, kernel

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

LANES = 16
"""Lanes compared at once: what a vector of 512 bits holds, the widest there is; narrower ones take several steps."""
ROWS = 8
PADDING = LANES
_LANES, _ROWS = np.uint64(LANES), np.uint64(ROWS)
_ZERO, _ONE, _BYTE, _LOW = np.uint64(0), np.uint64(1), np.uint64(0xFF), np.uint64(0xFFFF_FFFF)
_BYTES = tuple(np.uint64(byte) for byte in range(8))
_WIDTH, _HALF = np.uint64(8), np.uint64(32)


class Side(NamedTuple):
    """Sorted words, PADDING entries behind each array but the last."""

    lanes: U32
    tops: U32
    """The upper 32 bits of each word."""
    places: U32
    """Where in the unsorted hashes each stands."""
    starts: U64
    """Bucket b is [starts[b], starts[b + 1])."""


class Flips(NamedTuple):
    """The flips of a band, in groups of equal upper bits."""

    flips: U64
    limits: U32
    """The lane distance that a pair may have in a join by each flip."""
    groups: U64
    """Group g is flips[groups[g]:groups[g + 1]]."""


class Rules(NamedTuple):
    """What a pair of words must be besides near by its lane; masks are of permuted words."""

    radius: np.uint64
    masks: U64
    floors: U64
    """A pair is some earlier band's unless it differs there, in masks[e], by at least floors[e] bits."""
    block_bits: np.uint64
    """Buckets are visited in blocks of 2^block_bits, so that two blocks stay in the cache."""
    hot: np.uint64
    """A join of more comparisons than this is not done but reported."""
    lane_mask: np.uint32
    """Ones in the bits of the lane, of the 32 that are kept of a word for it."""
    by_lanes: np.bool_
    """Lanes are compared before whole words: not worth it where chance makes many near."""
    is_self: np.bool_
    """The two sides are one: of its pairs each is reported once, and none of a word with itself."""


def _code_of_popcount(_: Any, word: Any) -> Any:
    """Return the ones of a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


def _code_of_trailing_zeros(_: Any, word: Any) -> Any:
    """Return the zeros below the lowest 1 of 64 bits; 64 where there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


class _Vectors:
    """Writes code that compares LANES numbers of 32 bits with one."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.signature, self.arguments = context, builder, signature, arguments
        self.kind = ir.VectorType(ir.IntType(32), LANES)
        count_type = ir.FunctionType(self.kind, [self.kind])
        self.count = cgutils.get_or_insert_function(builder.module, count_type, f"llvm.ctpop.v{LANES}i32")

    def spread(self, value: Any) -> Any:
        """Return a vector of one value."""
        undefined = ir.Constant(self.kind, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, undefined, ir.Constant(self.kind, None))

    def _place(self, array: int, at: Any) -> Any:
        kind, value = self.signature.args[array], self.arguments[array]
        return self.builder.gep(self.context.make_array(kind)(self.context, self.builder, value).data, [at])

    def load(self, array: int, at: Any) -> Any:
        """Return the LANES numbers from `at` on of the array that is such an argument."""
        return self.builder.load(self.builder.bitcast(self._place(array, at), self.kind.as_pointer()), align=4)

    def load_one(self, array: int, at: Any, row: int) -> Any:
        """Return a vector of the number `row` behind `at`."""
        place = self.builder.add(at, ir.Constant(ir.IntType(64), row))
        return self.spread(self.builder.load(self._place(array, place)))

    def differing(self, ours: Any, theirs: Any, mask: Any) -> Any:
        """Return in how many bits of a mask they differ, as a vector."""
        return self.builder.call(self.count, [self.builder.and_(self.builder.xor(ours, theirs), mask)])

    def any_within(self, distances: list[Any], limit: Any) -> Any:
        """Return as bits in which lanes any of the vectors of distances is at most the limit."""
        within = [self.builder.icmp_unsigned("<=", distance, limit) for distance in distances]
        found = functools.reduce(self.builder.or_, within)
        return self.builder.zext(self.builder.bitcast(found, ir.IntType(LANES)), ir.IntType(64))


def _code_of_near_lanes(_: Any, lanes: Any, i: Any, others: Any, j: Any, mask: Any, limit: Any) -> Any:
    """Return which of others[j:j + LANES] differ from any of lanes[i:i + ROWS] in at most `limit` bits of the mask."""

    def generate(*code: Any) -> Any:
        to, (_, i, _, j, mask, limit) = _Vectors(*code), code[3]
        theirs, masks = to.load(2, j), to.spread(mask)
        distances = [to.differing(to.load_one(0, i, row), theirs, masks) for row in range(ROWS)]
        return to.any_within(distances, to.spread(limit))

    return types.uint64(lanes, types.uint64, others, types.uint64, types.uint32, types.uint32), generate


def _code_of_near_words(
    _: Any, lanes: Any, tops: Any, i: Any, other_lanes: Any, other_tops: Any, j: Any, radius: Any
) -> Any:
    """Return likewise which words are within the radius, [32] each of lanes and tops."""

    def generate(*code: Any) -> Any:
        to, (_, _, i, _, _, j, radius) = _Vectors(*code), code[3]
        low, high, all_bits = to.load(3, j), to.load(4, j), to.spread(ir.Constant(ir.IntType(32), -1))
        distances = [
            to.builder.add(
                to.differing(to.load_one(0, i, row), low, all_bits),
                to.differing(to.load_one(1, i, row), high, all_bits),
            )
            for row in range(ROWS)
        ]
        return to.any_within(distances, to.spread(radius))

    kinds = (lanes, tops, types.uint64, other_lanes, other_tops, types.uint64, types.uint32)
    return types.uint64(*kinds), generate


_popcount, _trailing_zeros = intrinsic(_code_of_popcount), intrinsic(_code_of_trailing_zeros)
_near_lanes, _near_words = intrinsic(_code_of_near_lanes), intrinsic(_code_of_near_words)


@inlined
def _permuted(word: Any, tables: U64, first: Any) -> Any:
    """Return a word whose byte b has been looked up in tables[first + b], [at least first + 8, 256]."""
    low = tables[first, word & _BYTE] | tables[first + _BYTES[1], (word >> _WIDTH) & _BYTE]
    low |= tables[first + _BYTES[2], (word >> (_BYTES[2] * _WIDTH)) & _BYTE]
    low |= tables[first + _BYTES[3], (word >> (_BYTES[3] * _WIDTH)) & _BYTE]
    high = tables[first + _BYTES[4], (word >> (_BYTES[4] * _WIDTH)) & _BYTE]
    high |= tables[first + _BYTES[5], (word >> (_BYTES[5] * _WIDTH)) & _BYTE]
    high |= tables[first + _BYTES[6], (word >> (_BYTES[6] * _WIDTH)) & _BYTE]
    return low | high | tables[first + _BYTES[7], word >> (_BYTES[7] * _WIDTH)]


@kernel
def permute(hashes: U64, tables: U64, packed: U64, column: int) -> None:
    """Write to `packed[:, column]` the bits that `tables` [8 x words, 256] gather from each of `hashes` [N, words]."""
    for row in range(np.uint64(hashes.shape[0])):
        word = _ZERO
        for source in range(np.uint64(hashes.shape[1])):
            word |= _permuted(hashes[row, source], tables, source * _WIDTH)
        packed[row, column] = word


@kernel
def count(hashes: U64, column: int, tables: U64, shift: Any, counts: U64) -> None:
    """Count in `counts` [2^(64 - shift)] the permuted words of `hashes[:, column]` by their top bits; shift < 64."""
    for row in range(np.uint64(hashes.shape[0])):
        counts[_permuted(hashes[row, column], tables, _ZERO) >> shift] += _ONE


@kernel
def part(hashes: U64, column: int, tables: U64, shift: Any, ends: U64, words: U64, places: U32) -> None:
    """Write the permuted words of `hashes[:, column]` and where they stand, parted by their top bits.

    `ends` holds where each part begins, by the counts of `count`, and afterwards where it ends: so all [N] are written
    within their arrays. `shift` is below 64.
    """
    for row in range(np.uint64(hashes.shape[0])):
        word = _permuted(hashes[row, column], tables, _ZERO)
        to = ends[word >> shift]
        ends[word >> shift] = to + _ONE
        words[to] = word
        places[to] = np.uint32(row)


@kernel
def sort(words: U64, places: U32, shift: Any, ends: U64, lanes: U32, tops: U32, sorted_places: U32) -> None:
    """Write words and their places parted further by more top bits; `ends` as for `part`.

    Words that come in an order of their upper bits make writes that stay near each other.
    """
    for row in range(np.uint64(len(places))):
        word = words[row]
        bucket = word >> shift
        to = ends[bucket]
        ends[bucket] = to + _ONE
        lanes[to] = np.uint32(word & _LOW)
        tops[to] = np.uint32(word >> _HALF)
        sorted_places[to] = places[row]


@inlined
def _emit(ours: Side, theirs: Side, rules: Rules, found: U32, num_found: Any, i: Any, j: Any) -> Any:
    """Write the pair of sorted words i and j to `found` if it is near and this band's; return how many are there."""
    lane, top = ours.lanes[i] ^ theirs.lanes[j], ours.tops[i] ^ theirs.tops[j]
    if np.uint64(_popcount(lane)) + np.uint64(_popcount(top)) > rules.radius:
        return num_found
    word = (np.uint64(top) << _HALF) | np.uint64(lane)
    for earlier in range(np.uint64(len(rules.masks))):
        if _popcount(word & rules.masks[earlier]) < rules.floors[earlier]:
            return num_found
    found[num_found, 0] = ours.places[i]
    found[num_found, 1] = theirs.places[j]
    return num_found + _ONE


@inlined
def _join(
    ours: Side, theirs: Side, rules: Rules, limit: Any, a: Any, b: Any, found: U32, num_found: Any, state: U64
) -> Any:
    """Compare the words of buckets a and b, from state[4:6] on; return (pairs found, whether all was compared).

    Where fewer than LANES x ROWS rows of `found` are free, it stops at what it would compare next.
    """
    stop, their_stop = ours.starts[a + _ONE], theirs.starts[b + _ONE]
    is_same = rules.is_self and a == b
    for j in range(max(theirs.starts[b], state[4]), their_stop, _LANES):
        first = max(ours.starts[a], state[5])
        state[5] = _ZERO
        for i in range(first, min(stop, j + _LANES) if is_same else stop, _ROWS):
            if rules.by_lanes and _near_lanes(ours.lanes, i, theirs.lanes, j, rules.lane_mask, limit) == _ZERO:
                continue
            near = _near_words(ours.lanes, ours.tops, i, theirs.lanes, theirs.tops, j, np.uint32(rules.radius))
            if near == _ZERO:
                continue
            if num_found + _LANES * _ROWS > np.uint64(len(found)):
                state[4] = j
                state[5] = i
                return num_found, False
            while near != _ZERO:
                other = j + _trailing_zeros(near)
                near &= near - _ONE
                last = min(stop, i + _ROWS) if other < their_stop else i
                for one in range(i, min(last, other) if is_same else last):
                    num_found = _emit(ours, theirs, rules, found, num_found, one, other)
    state[4] = _ZERO
    return num_found, True


@kernel
def join_all(ours: Side, theirs: Side, flips: Flips, rules: Rules, state: U64, found: U32, hot: U64) -> Any:
    """Join all buckets by all flips; return how many rows of `found` and of `hot` are written.

    found [n, 2]: places of ours and theirs; hot [m, 2]: buckets of ours and theirs that were not joined. `state` [6] of
    zeros begins; state[0] is the number of blocks when all is done, else one of the two is nearly full, and the next
    call goes on. Where the sides are one, of two buckets only the lower is joined with the higher.
    """
    num_found, num_hot = _ZERO, _ZERO
    num_blocks = np.uint64(len(ours.starts) - 1) >> rules.block_bits
    num_groups = np.uint64(len(flips.groups) - 1)
    in_block = _ONE << rules.block_bits
    for block in range(state[0], num_blocks):
        for group in range(state[1], num_groups):
            if rules.is_self and block ^ (flips.flips[flips.groups[group]] >> rules.block_bits) < block:
                continue
            for bucket in range(state[2], in_block):
                a = (block << rules.block_bits) | bucket
                size = ours.starts[a + _ONE] - ours.starts[a]
                if size == _ZERO:
                    continue
                for index in range(max(state[3], flips.groups[group]), flips.groups[group + _ONE]):
                    b = a ^ flips.flips[index]
                    if rules.is_self and b < a:
                        continue
                    done: Any = True
                    if size * (theirs.starts[b + _ONE] - theirs.starts[b]) > rules.hot:
                        done = num_hot < np.uint64(len(hot))
                        if done:
                            hot[num_hot, 0], hot[num_hot, 1] = a, b
                            num_hot += _ONE
                    else:
                        limit = flips.limits[index]
                        num_found, done = _join(ours, theirs, rules, limit, a, b, found, num_found, state)
                    if not done:
                        state[0], state[1], state[2], state[3] = block, group, bucket, index
                        return num_found, num_hot
                state[3] = _ZERO
            state[2] = _ZERO
        state[1] = _ZERO
    state[0] = num_blocks
    return num_found, num_hot
