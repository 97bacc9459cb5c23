"""What `wit evaluate-robustness` is asked for: its options, and the sets that they name, opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.evaluation.features import Embedding
from trainer.evaluation.problems import Wording, Words, read_words
from trainer.evaluation.robustness import IMAGENET, SHIFTS
from trainer.evaluation.sets import OpenSet, is_named, open_set, require_others
from trainer.evaluation.shifts.frames import read_frames
from trainer.evaluation.shifts.matching import Mapped, read_mapping
from trainer.evaluation.shifts.sets import ShiftSet
from trainer.evaluation.shifts.standard import Models, read_models
from trainer.evaluation.suite import read_names
from trainer.evaluation.suite.tasks import fold
from wit.errors import UserError
from wit.storage import join

MAX_CROP_PX = 64
NUM_CLASSES = 1_000


@dataclass(frozen=True)
class Asked:
    """What is evaluated, all opened and read but the images."""

    imagenet: OpenSet
    shifts: tuple[ShiftSet, ...]
    train: OpenSet | None
    words: Words
    models: Models | None
    out: str
    embedding: Embedding
    mapped: Mapped | None
    """What else ImageNet's classes are called."""

    @staticmethod
    def of(options: Mapping[str, Any]) -> Asked:
        """Return options as the command line has them; raises UserError, or InputError for what cannot be read."""
        imagenet = _open(options["imagenet"], IMAGENET)
        own, maps = _own_map(options["map"])
        shifts = _open_shifts({**options, "map": maps})
        wording = Wording(options["classes"], options["templates"], options["by_order"])
        out = options["out"]
        train = _open(options["train"], f"{IMAGENET}-train") if options["train"] else None
        if train is not None:
            require_others("--train", train, imagenet)
        return Asked(
            imagenet,
            shifts,
            train,
            read_words(IMAGENET if _is_whole(imagenet) else imagenet.name + " in part", wording),
            read_models(options["standard"], [one.name for one in shifts]) if options["standard"] else None,
            out,
            Embedding(options["cache"] or join(out, "features"), options["skip_broken"]),
            read_mapping(own) if own else None,
        )


def _own_map(texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the file of --map for ImageNet itself, blank where there is none, and the others."""
    pairs = [(text, *_split("--map", text)) for text in texts]
    own = [value for _, name, value in pairs if fold(name) == fold(IMAGENET)]
    if len(own) > 1:
        raise UserError(f"--map {IMAGENET}={own[1]}: expected one, found another; put the names into one file")
    return "".join(own), [text for text, name, _ in pairs if fold(name) != fold(IMAGENET)]


def _is_whole(imagenet: OpenSet) -> bool:
    """Return whether ImageNet has all its classes, as far as it lists them; a part is named by a file of its own."""
    return len(imagenet.listing.classes) in (0, NUM_CLASSES)


def _open(text: str, name: str) -> OpenSet:
    """Return a set by the name that its user gives it, else by one of ours, whatever its folder is called."""
    return open_set(text if is_named(text) else f"{name}={text}")


def _open_shifts(options: Mapping[str, Any]) -> tuple[ShiftSet, ...]:
    """Return the sets of --shift with what other options say of them; raises UserError for a name that none has."""
    opened = {}
    for text in options["shift"]:
        name, path = _split("--shift", text)
        name = next((each for each in SHIFTS if fold(each) == fold(name)), name)
        if name in opened or name == IMAGENET:
            raise UserError(f"--shift {text!r}: expected another name for each set, found {name!r} again")
        found = open_set(f"{name}={path}")
        opened[name] = ShiftSet(found.listing, True)
    more = {option: _by_name(f"--{option}", options[option.replace("-", "_")], opened) for option in _MORE}
    for name, one in opened.items():
        if source := more["own-names"].get(name, ""):
            read_names(source, name)  # what is wrong with it is said before any image is read
        opened[name] = replace(
            one,
            crop_px=_crop_px(name, more["crop"].get(name, "0")),
            frames=read_frames(more["frames"][name]) if name in more["frames"] else None,
            mapped=read_mapping(more["map"][name]) if name in more["map"] else None,
            own_names=source,
        )
    return tuple(opened.values())


_MORE = ("map", "own-names", "frames", "crop")


def _by_name(option: str, texts: Sequence[str], names: Mapping[str, object]) -> dict[str, str]:
    known = {fold(name): name for name in names}
    found: dict[str, str] = {}
    for text in texts:
        name, value = _split(option, text)
        if fold(name) not in known or known[fold(name)] in found:
            raise UserError(
                f"{option} {text!r}: expected one for a set of --shift ({', '.join(names)}), found {name!r}"
            )
        found[known[fold(name)]] = value
    return found


def _split(option: str, text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise UserError(f"{option} {text!r}: expected NAME=VALUE, such as ImageNet-A=sets/imagenet-a for --shift")
    return name, value


def _crop_px(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_CROP_PX:
        raise UserError(f"--crop {name}={text}: expected pixels from 0 to {MAX_CROP_PX}; ObjectNet's border takes 2")
    return int(text)
