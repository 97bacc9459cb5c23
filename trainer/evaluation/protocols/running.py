"""Every protocol by name: from a file that the user brings and a model to results.

A result's file is OUT/results/TASK.PROTOCOL.json, as those of all evaluations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from trainer.evaluation.features import Features
from trainer.evaluation.keeping import result_url
from trainer.evaluation.metrics import softmax
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.printing import unreadable
from trainer.evaluation.problems import Problem, Wording, departures, pose, read_words, require_fit
from trainer.evaluation.protocols import (
    bias,
    gendered,
    geolocation,
    identification,
    ocr,
    retrieval,
    surveillance,
    video,
)
from trainer.evaluation.protocols.findings import Finding, Floats, Ints, similarities
from trainer.evaluation.protocols.frames import ALL, MIDDLE
from trainer.evaluation.protocols.frames import video as frames_of
from trainer.evaluation.protocols.units import PICTURES, UNREADABLE, VIDEOS, Embedder, Unit, picture
from trainer.evaluation.scoring import fill_templates
from trainer.evaluation.templates import TEMPLATES
from wit import manifest
from wit.errors import InputError, UserError
from wit.evaluation_sets.labels import read_text
from wit.storage import join


@dataclass(frozen=True)
class Brought:
    """What a user brings to a protocol."""

    task: str
    """Of the results; the paper's numbers stand beside it where the paper has one of that name: flickr30k, celeba."""
    table: str
    """The file that says what belongs to what; of videos, the folder of class folders."""
    images: str = ""
    """The folder or URL in which the images of the table are; blank: the table's own."""
    extra: str = ""
    """A second file: of geolocation the places of the references; of gendered labels the labels, one a line."""
    wording: Wording = field(default_factory=Wording)
    """Templates instead of the protocol's own; names of the classes of videos instead of their folders'."""
    max_frames: int = 0
    """Of a video that are averaged, evenly spaced; 0: all."""
    skips_broken: bool = False
    """Whether what cannot be read is left out and counted; else it is an error."""

    def templates(self, default: Sequence[str]) -> tuple[str, ...]:
        """Return those that the user names, or else the default."""
        wording = replace(self.wording, classes="")
        return read_words(self.task, wording).templates if wording.templates else tuple(default)


Found = Finding | Outcome
Run = Callable[[Embedder, Brought], Sequence[Found]]


def run_protocol(name: str, embedder: Embedder, brought: Brought) -> Sequence[Found]:
    """Return the results of a protocol of PROTOCOLS.

    Raises UserError for another name, and for what the protocol has no use for; InputError for bad inputs.
    """
    if name not in PROTOCOLS:
        raise UserError(f"expected a protocol, one of {', '.join(PROTOCOLS)}; found {name!r}")
    if brought.wording.classes and not name.startswith("video"):
        raise UserError(f"--classes: expected it with a protocol of videos, found {name}, which has names in its table")
    if brought.max_frames and not name.startswith("video_all"):
        raise UserError(f"--max-frames: expected it with video_all or video_all_embeddings, found {name}; leave it out")
    if brought.extra and name not in ("geolocation", "gendered"):
        raise UserError(f"--extra: expected it with geolocation or gendered, found {name}; leave it out")
    return PROTOCOLS[name](embedder, brought)


def write_results(found: Sequence[Found], out: str) -> None:
    """Write each result to `out`/results/TASK.PROTOCOL.json; raises OutputError."""
    for one in found:
        result = one.result()
        manifest.write(result_url(out, str(result["task"]), one.protocol), result)


def describe(one: Found) -> str:
    """Return a result as lines: its value, interval, and chance where there is one; what was left out; its note."""
    if isinstance(one, Outcome):
        task, metric, chance, value, interval = (
            one.problem.name, one.problem.metric, one.problem.chance, one.value, one.interval
        )  # fmt: skip
        of = f"{len(one.items)} videos; "
    else:
        task, metric, chance, value, interval = one.task, one.metric, one.chance, one.share.value, one.share.interval
        of = f"{one.share.num_hits}/{one.share.num_items}; "
    line = f"{task} {one.protocol}: {metric} {value:.1%} ({of}95 % interval {interval[0]:.1%} to {interval[1]:.1%})"
    line += "" if chance is None else f"; chance {chance:.1%}"
    rejected = one.details["rejected"]
    assert isinstance(rejected, dict)
    line += f"\n{unreadable(rejected)}" if rejected else ""
    return f"{line}\n{note}" if (note := one.details.get("note")) else line


@dataclass
class _Reader:
    """Reads the embeddings of units, and counts those that cannot be read, by reason."""

    embedder: Embedder
    brought: Brought
    rejected: Counter[str] = field(default_factory=Counter)

    def units(self, units: Sequence[Unit], part_units: int = PICTURES) -> Iterator[tuple[int, Floats]]:
        """Yield the place and the embeddings of what can be read; raises InputError when nothing, or not all, can."""
        num_read = 0
        for place, each in enumerate(self.embedder.embed(units, part_units)):
            if not each.reason:
                num_read += 1
                yield place, each.rows_FD
                continue
            if not self.brought.skips_broken:
                found = each.detail if each.reason == UNREADABLE else (
                    f"{units[place].name}: expected pictures, found {each.reason}: {each.detail}; mend it"
                )  # fmt: skip
                raise InputError(f"{found}; or leave such out with --skip-broken")
            self.rejected[each.reason] += 1
        if not num_read:
            raise InputError(f"{self.brought.table}: expected pictures that can be read, found none of {len(units):,}")

    def pictures(self, names: Sequence[str]) -> tuple[Floats, list[int]]:
        """Return the embeddings (N, D) of image files that can be read, and their places."""
        folder = self.brought.images or str(Path(self.brought.table).parent)
        read = list(self.units([picture(join(folder, name)) for name in names]))
        return np.concatenate([rows for _, rows in read]), [place for place, _ in read]

    def noted(self, *findings: Finding) -> tuple[Finding, ...]:
        """Return findings with what was left out in their details."""
        details = {"rejected": dict(sorted(self.rejected.items()))}
        return tuple(replace(one, details={**one.details, **details}) for one in findings)


def _texts(embedder: Embedder, texts: Sequence[str], templates: Sequence[str]) -> Floats:
    return embedder.texts(fill_templates(texts, templates))


def _run_retrieval(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    pairs, reader = retrieval.read_pairs(brought.table), _Reader(embedder, brought)
    templates = brought.templates((retrieval.PREFIX,))
    image_ND, kept = reader.pictures(pairs.images)
    pairs = pairs.keep(kept)
    text_MD = _texts(embedder, pairs.captions, templates)
    return reader.noted(*retrieval.measure_retrieval(image_ND, text_MD, pairs, brought.task))


def _run_video(embedder: Embedder, brought: Brought, which: str, protocol: str) -> Sequence[Found]:
    """Average the frames of a video as soon as they are embedded, so that no more of them are in memory."""
    videos = video.list_videos(brought.table)
    problem = _pose_videos(videos, brought)
    text_CD = embedder.texts(problem.prompts())
    units = [frames_of(one.path, which, brought.max_frames) for one in videos.videos]
    reader = _Reader(embedder, brought)
    scores, kept = [], []
    for place, frame_FD in reader.units(units, VIDEOS):
        if protocol == _BY_EMBEDDINGS:
            frame_FD = video.average_embedding(frame_FD)[None]
        logits_FC = (embedder.scale * similarities(frame_FD, text_CD)).astype(np.float32)
        scores.append(video.average_prediction(logits_FC))
        kept.append(place)
    problem = replace(problem, labels=problem.labels[kept])
    differs = "; ".join(departures(problem))
    details = {"rejected": dict(sorted(reader.rejected.items())), "templates": list(problem.templates)} | (
        {"not_as_the_paper": differs} if differs else {}
    )
    items = [videos.videos[place].name for place in kept]
    return (Outcome(problem, protocol, items, np.stack(scores), details),)


def _pose_videos(videos: video.VideoSet, brought: Brought) -> Problem:
    """Return what is to be recognised in all videos of a set."""
    words = read_words(brought.task, brought.wording)
    require_fit(words, videos.classes)
    labels_N = np.array([one.label for one in videos.videos])
    names = [one.name for one in videos.videos]
    return pose(Features(np.zeros((len(names), 0), np.float32), labels_N, names, videos.classes), words)


def _run_words(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    words, reader = ocr.read_words(brought.table), _Reader(embedder, brought)
    word_CD = _texts(embedder, words.words, brought.templates(ocr.TEMPLATES))
    image_ND, kept = reader.pictures(words.images)
    return reader.noted(ocr.measure_words(image_ND, word_CD, words.keep(kept), brought.task))


def _run_geolocation(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    if not brought.extra:
        raise UserError("geolocation: expected a file with the places of references, found none; name it by --extra")
    reader = _Reader(embedder, brought)
    queries, references = geolocation.read_places(brought.table), geolocation.read_places(brought.extra)
    query_QD, kept = reader.pictures(queries.images)
    reference_ND, kept_references = reader.pictures(references.images)
    queries, references = queries.keep(kept), references.keep(kept_references)
    return reader.noted(geolocation.measure_geolocation(query_QD, queries, reference_ND, references, brought.task))


def _run_faces(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    faces, reader = bias.read_faces(brought.table), _Reader(embedder, brought)
    image_ND, kept = reader.pictures([face.image for face in faces])
    faces = tuple(faces[place] for place in kept)
    findings: list[Finding] = []
    for attribute, names in bias.FAIRFACE.items():
        templates = brought.templates(bias.TEMPLATES[attribute])
        chosen_N = _nearest(image_ND, _texts(embedder, tuple(names.values()), templates))
        classes = tuple(names)
        predicted = [classes[place] for place in chosen_N.tolist()]
        findings += bias.measure_faces(predicted, faces, attribute, brought.task)
    return reader.noted(*findings)


def _run_harm(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    faces, reader = bias.read_faces(brought.table), _Reader(embedder, brought)
    image_ND, kept = reader.pictures([face.image for face in faces])
    labels = [words for words, _ in bias.harm_labels(with_child=True)]
    text_CD = _texts(embedder, labels, brought.templates(bias.TEMPLATES[bias.GENDER]))
    without_N, with_N = _nearest(image_ND, text_CD[:-1]), _nearest(image_ND, text_CD)
    return reader.noted(*bias.measure_harm(without_N, with_N, [faces[place] for place in kept], brought.task))


def _run_gendered(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    members, reader = gendered.read_members(brought.table), _Reader(embedder, brought)
    lines = read_text(brought.extra).splitlines() if brought.extra else []
    labels = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(labels) < 2:
        raise InputError(f"{brought.extra or 'gendered'}: expected two labels or more, one a line, found "
                         f"{len(labels)}; the paper's lists are not published: name yours by --extra")  # fmt: skip
    text_CD = _texts(embedder, labels, brought.templates(TEMPLATES["photo"]))
    image_ND, kept = reader.pictures([image for image, _ in members])
    probability_NC = softmax(embedder.scale * similarities(image_ND, text_CD)).astype(np.float32)
    genders = [members[place][1] for place in kept]
    return reader.noted(gendered.measure_gendered(probability_NC, genders, labels, brought.task))


def _run_surveillance(embedder: Embedder, brought: Brought) -> Sequence[Found]:
    questions, reader = surveillance.read_questions(brought.table), _Reader(embedder, brought)
    image_ND, kept = reader.pictures([one.image for one in questions])
    questions = tuple(questions[place] for place in kept)
    text_CD = _texts(embedder, surveillance.list_descriptions(questions), brought.templates(("{label}",)))
    return reader.noted(*surveillance.measure_surveillance(image_ND, text_CD, questions, brought.task))


def _run_identification(embedder: Embedder, brought: Brought, reading: str) -> Sequence[Found]:
    people, reader = identification.read_people(brought.table), _Reader(embedder, brought)
    name_CD = _texts(embedder, people.names, brought.templates(identification.TEMPLATES))
    image_ND, kept = reader.pictures(people.images)
    people = people.keep(kept)
    return reader.noted(*identification.measure_identification(image_ND, name_CD, people, brought.task, reading))


def _nearest(image_ND: Floats, text_CD: Floats) -> Ints:
    places: Ints = similarities(image_ND, text_CD).argmax(axis=1).astype(np.int64)
    return places


_BY_EMBEDDINGS = "video_all_embeddings"

PROTOCOLS: dict[str, Run] = {
    "retrieval": _run_retrieval,
    "video_middle": partial(_run_video, which=MIDDLE, protocol="video_middle"),
    "video_all": partial(_run_video, which=ALL, protocol="video_all"),
    _BY_EMBEDDINGS: partial(_run_video, which=ALL, protocol=_BY_EMBEDDINGS),
    "reading": _run_words,
    "geolocation": _run_geolocation,
    "faces": _run_faces,
    "harm": _run_harm,
    "gendered": _run_gendered,
    "surveillance": _run_surveillance,
    "identification": partial(_run_identification, reading=identification.PEOPLE),
    "identification_every_image": partial(_run_identification, reading=identification.EVERY_IMAGE),
}
