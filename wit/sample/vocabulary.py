"""The words of the miniature encyclopedia, and the slots of its sentences that they fill."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from wit.sample.lexicon import COLOURS, COUNTS, DIGITS, NONSENSE, PLACES, POSITIONS, SHAPES, TEXTURES


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words(
    """
village castle church bridge mountain forest island station market garden school library museum tower palace temple
theatre hospital factory railway canal lake coast road street field farm mill mine quarry hill cliff beach desert
river town city county province kingdom empire republic army navy war battle treaty law court council parliament king
queen prince bishop priest monk knight soldier sailor merchant farmer miner weaver potter painter sculptor poet writer
singer dancer actor composer architect engineer doctor teacher student child woman man family people animal horse dog
cat bird fish wolf fox deer rabbit mouse eagle owl swan goose duck hen sheep goat cow pig bee ant spider tree oak pine
elm rose lily grass wheat barley apple pear cherry grape bread cheese butter honey wine beer tea coffee stone brick
wood glass paper cloth silk wool leather gold coin crown sword shield arrowhead bow drum flute violin organ bell book
letter map painting statue window door wall roof floor stair table chair bed lamp candle fire water ice snow rain wind
storm cloud sun moon planet comet winter summer spring autumn morning evening night century year
"""
)

ADJECTIVES = _words(
    """
old new ancient modern early late great little long short high low wide narrow deep shallow young famous royal public
private common rare local foreign northern southern eastern western upper lower rich poor strong weak heavy light
bright dark quiet loud cold dry wet fresh sweet bitter wooden stony golden rough smooth round flat steep holy secret
open closed busy empty full broken whole simple complex early-medieval well-known twelfth-century
"""
)

VERBS = _words(
    """
built founded visited described painted carved sold bought kept lost found ruled defended attacked burned rebuilt
opened closed crossed followed measured mapped named wrote praised copied studied collected traded planted harvested
moved carried guarded restored abandoned surveyed inherited crowned taught
"""
)

ADVERBS = _words("often rarely later soon never always slowly quickly carefully twice again perhaps mostly nearly")

FOREIGN = _words("café naïve façade Škarnik Österby piñata straße o'clock don't rock-n-roll")
"""Words with letters beyond a to z, apostrophes and hyphens."""

_HEADS = _words("Bal Cor Dren El Far Gor Hal Is Jor Kel Lom Mar Nor Os Pel Ros")
_MIDDLES = _words("a an ar e el en i in o or u und")
_TAILS = _words("bert dale dric fast gard hart lin mond nus rick son thal ton vik win")


def plural(noun: str) -> str:
    """Return the regular English plural: star, stars; cross, crosses."""
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def invent_names(rng: random.Random, number: int) -> list[str]:
    """Return distinct invented surnames, the long tail of the vocabulary."""
    known = {word.lower() for words in (NOUNS, ADJECTIVES, NONSENSE, PLACES) for word in words}
    names = [head + middle + tail for head in _HEADS for middle in _MIDDLES for tail in _TAILS]
    return rng.sample([name for name in names if name.lower() not in known], number)


class Vocabulary:
    """Fills the slots of templates: general words by Zipf's law, caption words in turn, so that none is rare."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._slots: dict[str, Callable[[], str]] = {"year": lambda: str(rng.randrange(1100, 2000))}
        for name, words in {
            "colour": tuple(COLOURS),
            "colour2": tuple(COLOURS),
            "shape": SHAPES,
            "shapes": tuple(map(plural, SHAPES)),
            "count": COUNTS,
            "texture": TEXTURES,
            "position": POSITIONS,
            "digit": DIGITS,
            "P": PLACES,
            "foreign": FOREIGN,
        }.items():
            self._slots[name] = self._in_turn(words)
        names = invent_names(rng, 1500)
        for name, words in {"N": NOUNS, "J": ADJECTIVES, "V": VERBS, "adverb": ADVERBS, "X": tuple(names)}.items():
            self._slots[name] = self._zipf(words)

    def _in_turn(self, words: Sequence[str]) -> Callable[[], str]:
        def cycle() -> Iterator[str]:
            while True:
                yield from self._rng.sample(words, len(words))

        return cycle().__next__

    def _zipf(self, words: Sequence[str]) -> Callable[[], str]:
        ordered = self._rng.sample(words, len(words))
        cumulative = list(accumulate(1 / (rank + 8) for rank in range(len(ordered))))  # Zipf-Mandelbrot
        return lambda: self._rng.choices(ordered, cum_weights=cumulative)[0]

    def fill(self, template: str, **fixed: str) -> str:
        """Return `template` with every slot filled, the first letter a capital."""
        head, *rest = template.split("{")
        text = head
        for piece in rest:
            slot, _, tail = piece.partition("}")
            text += (fixed[slot] if slot in fixed else self._slots[slot]()) + tail
        return text[:1].upper() + text[1:]
