"""The miniature web's evaluation sets: folders of classes, with copies of pictures that the web shows."""

from __future__ import annotations

from random import Random

from wit.sample.encoding import EXTENSIONS, Picture, encode
from wit.sample.intents import PLANTED_BLOCKS
from wit.sample.plan import num_blocks, plan_block
from wit.sample.scenes import CLASSES, HELD_OUT, single_object
from wit.sample.sound_pairs import edited
from wit.storage import join, publish_bytes

OVERLAPPING = "shapes-test"
HELD_OUT_SET = "heldout"
_CLEAN_CLASSES = 12
_CLEAN_PER_CLASS = 5
_HELD_OUT_PER_CLASS = 12


def write_evaluation_sets(folder: str, seed: int, num_pairs: int) -> None:
    """Write the evaluation sets: shapes-test overlaps with the web, heldout has classes it never shows."""
    rng = Random(f"{seed} evaluation")
    for colour, shape in rng.sample(CLASSES, _CLEAN_CLASSES):
        _write_class(join(folder, OVERLAPPING), seed, colour, shape, _CLEAN_PER_CLASS)
    for colour, shape in sorted(HELD_OUT):
        _write_class(join(folder, HELD_OUT_SET), seed, colour, shape, _HELD_OUT_PER_CLASS)
    for block in range(min(num_blocks(num_pairs), PLANTED_BLOCKS)):
        _write_planted(join(folder, OVERLAPPING), seed, block, num_pairs)


def _write_class(folder: str, seed: int, colour: str, shape: str, count: int) -> None:
    for number in range(count):
        name = f"{colour} {shape}"
        rng = Random(f"{seed} {name} {number}")
        scene = single_object(f"{seed} {folder.rpartition('/')[2]} {name} {number}", colour, shape)
        picture = Picture(scene, rng.randint(120, 160), rng.randint(120, 160), "png")
        publish_bytes(join(folder, name, f"{number:03d}.png"), encode(picture))


def _write_planted(folder: str, seed: int, block: int, num_pairs: int) -> None:
    """Write a copy of each planted picture of a block: the same bytes, or resized and encoded anew, by turns."""
    planned = plan_block(seed, block, num_pairs)
    for pair in (pair for page in planned.pages for pair in page.pairs if pair.warc.planted):
        picture = planned.responses[pair.warc.url].picture
        assert picture is not None  # planted pairs are served as pictures
        copy = edited(picture, Random(f"{seed} copy {pair.index}")) if pair.index % 2 else picture
        group = picture.scene.groups[0]
        name = f"copy-{pair.index:07d}.{EXTENSIONS[copy.format]}"
        publish_bytes(join(folder, f"{group.colour} {group.shape}", name), encode(copy))
