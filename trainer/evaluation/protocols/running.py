"""Every protocol by name: from a file that the user brings and a model to results.

A result's file is OUT/results/TASK.PROTOCOL.json, as those of all evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

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
from trainer.evaluation.protocols.embedding import Embedder
from trainer.evaluation.protocols.findings import Finding, Floats, Ints, similarities, softmax
from trainer.evaluation.templates import TEMPLATES
from wit import manifest
from wit.errors import InputError, UserError
from wit.storage import join, make_folder, read_bytes


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
    templates: tuple[str, ...] = ()
    """Instead of the protocol's own."""
    max_frames: int = 0
    """Of a video that are averaged, evenly spaced; 0: all."""


_BY_EMBEDDINGS = "video_all_embeddings"

Run = Callable[[Embedder, Brought], Sequence[Finding]]


def run_protocol(name: str, embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    """Return the results of a protocol of PROTOCOLS; raises UserError for another name, InputError for bad inputs."""
    if name not in PROTOCOLS:
        raise UserError(f"expected a protocol, one of {', '.join(PROTOCOLS)}; found {name!r}")
    return PROTOCOLS[name](embedder, brought)


def write_findings(findings: Sequence[Finding], out: str) -> None:
    """Write each result to `out`/results/TASK.PROTOCOL.json; raises OutputError."""
    make_folder(join(out, "results"))
    for one in findings:
        manifest.write(join(out, "results", f"{one.task}.{one.protocol}.json"), one.to_json())


def _pictures(embedder: Embedder, brought: Brought, names: Sequence[str]) -> Floats:
    folder = brought.images or str(Path(brought.table).parent)
    places = [join(folder, name) for name in names]
    return embedder.pictures(lambda place: read_bytes(places[place]), places)


def _run_retrieval(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    pairs = retrieval.read_pairs(brought.table)
    image_ND = _pictures(embedder, brought, pairs.images)
    text_MD = embedder.texts(pairs.captions, brought.templates or (retrieval.PREFIX,))
    return retrieval.measure_retrieval(image_ND, text_MD, pairs, brought.task)


def _run_video(embedder: Embedder, brought: Brought, which: str, protocol: str) -> Sequence[Finding]:
    """Embed one video's frames at a time, so that no more of them are in memory."""
    videos = video.list_videos(brought.table)
    text_CD = embedder.texts(videos.classes, brought.templates or TEMPLATES["photo"])
    parts = []
    for one in videos.videos:
        frames = video.read_frames(one, which, brought.max_frames)
        parts.append(embedder.pictures(frames.__getitem__, [f"{one.path}, frame {n}" for n in range(len(frames))]))
    owner = [place for place, part in enumerate(parts) for _ in part]
    frame_FD = np.concatenate(parts)
    if protocol == _BY_EMBEDDINGS:
        scores_NC = similarities(video.average_embeddings(frame_FD, owner, len(parts)), text_CD)
    else:
        logits_FC = (embedder.scale * similarities(frame_FD, text_CD)).astype(np.float32)
        scores_NC = video.average_predictions(logits_FC, owner, len(parts))
    return (video.measure_videos(scores_NC, videos, brought.task, protocol),)


def _run_words(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    words = ocr.read_words(brought.table)
    image_ND = _pictures(embedder, brought, words.images)
    word_CD = embedder.texts(words.words, brought.templates or ocr.TEMPLATES)
    return (ocr.measure_words(image_ND, word_CD, words, brought.task),)


def _run_geolocation(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    if not brought.extra:
        raise UserError("geolocation: expected a second file with the places of references, found none; name it")
    queries, references = geolocation.read_places(brought.table), geolocation.read_places(brought.extra)
    query_QD = _pictures(embedder, brought, queries.images)
    reference_ND = _pictures(embedder, brought, references.images)
    return (geolocation.measure_geolocation(query_QD, queries, reference_ND, references, brought.task),)


def _run_faces(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    faces = bias.read_faces(brought.table)
    image_ND = _pictures(embedder, brought, [face.image for face in faces])
    findings: list[Finding] = []
    for attribute, names in bias.FAIRFACE.items():
        templates = brought.templates or bias.TEMPLATES[attribute]
        chosen_N = _nearest(image_ND, embedder.texts(tuple(names.values()), templates))
        classes = tuple(names)
        predicted = [classes[place] for place in chosen_N.tolist()]
        findings += bias.measure_faces(predicted, faces, attribute, brought.task)
    return findings


def _run_harm(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    faces = bias.read_faces(brought.table)
    image_ND = _pictures(embedder, brought, [face.image for face in faces])
    labels = [words for words, _ in bias.harm_labels(with_child=True)]
    text_CD = embedder.texts(labels, brought.templates or bias.TEMPLATES[bias.GENDER])
    without_N, with_N = _nearest(image_ND, text_CD[:-1]), _nearest(image_ND, text_CD)
    return bias.measure_harm(without_N, with_N, faces, brought.task)


def _run_gendered(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    members = gendered.read_members(brought.table)
    lines = read_bytes(brought.extra).decode("utf-8", "replace").splitlines() if brought.extra else []
    labels = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(labels) < 2:
        raise InputError(f"{brought.extra or 'gendered labels'}: expected two labels or more, one a line, found "
                         f"{len(labels)}; the paper's lists are not published")  # fmt: skip
    image_ND = _pictures(embedder, brought, [image for image, _ in members])
    text_CD = embedder.texts(labels, brought.templates or TEMPLATES["photo"])
    probability_NC = softmax((embedder.scale * similarities(image_ND, text_CD)).astype(np.float32))
    return (gendered.measure_gendered(probability_NC, [gender for _, gender in members], labels, brought.task),)


def _run_surveillance(embedder: Embedder, brought: Brought) -> Sequence[Finding]:
    questions = surveillance.read_questions(brought.table)
    image_ND = _pictures(embedder, brought, [one.image for one in questions])
    text_CD = embedder.texts(surveillance.list_descriptions(questions), brought.templates or ("{label}",))
    return surveillance.measure_surveillance(image_ND, text_CD, questions, brought.task)


def _run_identification(embedder: Embedder, brought: Brought, reading: str) -> Sequence[Finding]:
    people = identification.read_people(brought.table)
    image_ND = _pictures(embedder, brought, people.images)
    name_CD = embedder.texts(people.names, brought.templates or identification.TEMPLATES)
    return identification.measure_identification(image_ND, name_CD, people, brought.task, reading)


def _nearest(image_ND: Floats, text_CD: Floats) -> Ints:
    places: Ints = similarities(image_ND, text_CD).argmax(axis=1).astype(np.int64)
    return places


PROTOCOLS: dict[str, Run] = {
    "retrieval": _run_retrieval,
    "video_middle": partial(_run_video, which=video.MIDDLE, protocol="video_middle"),
    "video_all": partial(_run_video, which=video.ALL, protocol="video_all"),
    _BY_EMBEDDINGS: partial(_run_video, which=video.ALL, protocol=_BY_EMBEDDINGS),
    "reading": _run_words,
    "geolocation": _run_geolocation,
    "faces": _run_faces,
    "harm": _run_harm,
    "gendered": _run_gendered,
    "surveillance": _run_surveillance,
    "identification": partial(_run_identification, reading=identification.PEOPLE),
    "identification_every_image": partial(_run_identification, reading=identification.EVERY_IMAGE),
}
