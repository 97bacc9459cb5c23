"""Evaluates a checkpoint's robustness: ImageNet and the sets of shifts, by each classifier.

Shapes: N items, M of them that count, C classes of ImageNet, G classes of a set that ImageNet has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from trainer.evaluation.evaluating import score_features, score_prompts
from trainer.evaluation.features import Features, embed_shown
from trainer.evaluation.fitting import by_metric, count_unfitted
from trainer.evaluation.logistic import Settings
from trainer.evaluation.metrics import Scores
from trainer.evaluation.probe import VALIDATION_SHARE, FittedProbe, Labelled, fit_probe, is_edge, split_off
from trainer.evaluation.problems import Problem, labels_of, pose
from trainer.evaluation.robustness import IMAGENET, VIDEO_SHIFTS, pool_scores
from trainer.evaluation.running import write_checkpoint
from trainer.evaluation.scoring import prompt_scorer
from trainer.evaluation.shifts.asking import Asked
from trainer.evaluation.shifts.frames import Frames
from trainer.evaluation.shifts.judging import Judged, Truth, find_truth, judge, on_classes, set_labels
from trainer.evaluation.shifts.matching import ImageNetClasses, Matched, match
from trainer.evaluation.shifts.printing import print_robustness
from trainer.evaluation.shifts.results import ImageNetResult, ShiftResult, to_json
from trainer.evaluation.shifts.sets import ShiftSet
from trainer.evaluation.suite import Names, align, read_names
from trainer.evaluation.suite.names import is_wordnet
from trainer.evaluation.suite.tasks import fold
from trainer.evaluation.terms import ADAPTED, OWN_NAMES, ROBUSTNESS, ZERO_SHOT
from trainer.models.build import AnyModel
from trainer.parallel.agreement import from_first
from trainer.parallel.ranks import Ranks
from trainer.tokenizer import ClipTokenizer
from wit import manifest
from wit.errors import UserError
from wit.evaluation_sets.sets import FOLDER
from wit.storage import join

_SIZES = {  # classes, and items that are judged, as imagenet-testbed has them; None: it does not say the set's number
    IMAGENET: (1_000, 50_000),
    "ImageNetV2": (1_000, 10_000),
    "ImageNet-A": (200, 7_500),
    "ImageNet-R": (200, 30_000),
    "ObjectNet": (113, 18_514),
    "ImageNet-Sketch": (1_000, None),
    "ImageNet-Vid": (30, 1_109),
}
Classifier = Callable[[Features], Scores]
"""From the features of a set to scores of ImageNet's classes (N, C)."""


def run(name: str, model: AnyModel, tokenizer: ClipTokenizer, asked: Asked, ranks: Ranks) -> None:
    """Evaluate a model, in evaluation mode on its device, and write what results.py says; all ranks must call it.

    Raises UserError, or InputError, for what cannot be evaluated.
    """
    if ranks.is_first:
        write_checkpoint(asked.out, name, model)
    evaluation = _Evaluation.begin(model, tokenizer, asked, ranks)
    found = [evaluation.judge_shift(one) for one in asked.shifts]
    if ranks.is_first:
        result = to_json(evaluation.imagenet_result(), found, asked.models, evaluation.facts())
        manifest.write(join(asked.out, "results", ROBUSTNESS), result)
        print_robustness(result)


@dataclass(frozen=True)
class _Evaluation:
    """Of a model, with what is the same for all sets."""

    model: AnyModel
    tokenizer: ClipTokenizer
    asked: Asked
    ranks: Ranks
    problem: Problem
    """ImageNet's."""
    rejected: Mapping[str, int]
    classes: ImageNetClasses
    classifiers: Mapping[str, Classifier]
    scores: Mapping[str, Scores]
    """Of ImageNet's images, by classifier."""
    adapted: Mapping[str, Any] | None

    @staticmethod
    def begin(model: AnyModel, tokenizer: ClipTokenizer, asked: Asked, ranks: Ranks) -> _Evaluation:
        """Embed ImageNet, and make the classifiers; what cannot be matched is said before a shift is embedded."""
        features = embed_shown(model, asked.imagenet, asked.embedding, ranks)
        problem = pose(features, asked.words)
        _require_words(asked, problem)
        classes = ImageNetClasses.of(problem, asked.words.names)
        if asked.mapped is not None:
            classes = classes.also(asked.mapped, f"--map {IMAGENET}")
        for one in asked.shifts:
            if one.listing.format == FOLDER and one.frames is None:
                match(one.name, one.listing.classes, classes, one.mapped)
        scorer = prompt_scorer(model, tokenizer, problem.prompts())
        classifiers: dict[str, Classifier] = {ZERO_SHOT: lambda each: score_features(model, scorer, each, ranks)}
        facts = None
        if asked.train is not None:
            train = embed_shown(model, asked.train, asked.embedding, ranks)
            fitted, facts = from_first(ranks, lambda: _adapt(model, problem, train))
            classifiers[ADAPTED] = lambda each: fitted.scores(each.features)
            del train
        scores = {which: classify(features) for which, classify in classifiers.items()}
        return _Evaluation(model, tokenizer, asked, ranks, problem, features.rejected, classes, classifiers, scores,
                           facts)  # fmt: skip

    def imagenet_result(self) -> ImageNetResult:
        """Return what each classifier is worth on ImageNet."""
        everything = [(place,) for place in range(self.problem.num_classes)]
        shares = {name: on_classes(scores, self.problem.labels, everything) for name, scores in self.scores.items()}
        sizes = len(self.problem.labels), self.problem.num_classes
        differs = _size_departures(IMAGENET, *sizes)
        return ImageNetResult(self.asked.imagenet.text, *sizes, self.rejected, differs, shares)

    def facts(self) -> dict[str, Any]:
        """Return what a result says of the classifiers."""
        source = self.problem.names.source
        return {"templates": list(self.problem.templates), "class_names": source, "adapted": self.adapted}

    def judge_shift(self, shift: ShiftSet) -> ShiftResult:
        """Return what the classifiers are worth on a set, whose features are kept on disk and not in memory."""
        features = embed_shown(self.model, shift, self.asked.embedding, self.ranks)
        labels = set_labels(features, shift.frames)
        matched = match(shift.name, labels, self.classes, shift.mapped)
        truth = find_truth(shift.name, features, matched, shift.frames)
        kept = replace(
            features,
            features=features.features[truth.rows_M],
            labels=features.labels[truth.rows_M],
            items=list(truth.items),
        )
        judged = [self._judge(which, pool_scores(classify(kept), matched.groups), truth, matched)
                  for which, classify in self.classifiers.items()]  # fmt: skip
        names = own_names(shift, labels, matched, self.problem)
        if names is not None:
            scores = score_prompts(self.model, self.tokenizer, kept, names.prompts(self.problem.templates), self.ranks)
            judged.insert(1, self._judge(OWN_NAMES, scores, truth, matched))
        return ShiftResult(
            shift.name,
            shift.text,
            truth.num_judged,
            len(matched.labels),
            matched.num_imagenet_classes,
            features.rejected,
            len(labels) - len(matched.labels),
            len(features.items) - len(truth.rows_M),
            departures(shift, truth, matched),
            tuple(judged),
        )

    def _judge(self, classifier: str, scores_MG: Scores, truth: Truth, matched: Matched) -> Judged:
        known = ZERO_SHOT if classifier == OWN_NAMES else classifier  # there is no ImageNet under another set's names
        return judge(classifier, scores_MG, truth, on_classes(self.scores[known], self.problem.labels, matched.groups))


def _require_words(asked: Asked, problem: Problem) -> None:
    """Raise UserError when prompts would be made of ids or numbers."""
    labels = problem.names.labels
    if not asked.words.names.classes and (is_wordnet(labels) or all(label.isdecimal() for label in labels)):
        raise UserError(
            f"--classes: expected a source of names, as the set calls its classes {labels[0]!r}, found none; give a "
            "file with a name a line, or an installed package that carries them"
        )


def own_names(shift: ShiftSet, labels: tuple[str, ...], matched: Matched, problem: Problem) -> Names | None:
    """Return the names that a set itself has for its classes that ImageNet has too; None where it has no others."""
    if shift.own_names:
        named = align(read_names(shift.own_names, shift.name), labels)
    elif is_wordnet(labels) or any(label.isdecimal() for label in labels):
        return None
    else:
        named = Names(tuple((label.replace("_", " "),) for label in labels), labels=labels)
    place = {label: number for number, label in enumerate(labels)}
    own = tuple(named.classes[place[label]] for label in matched.labels)
    imagenets = [problem.names.classes[group[0]] if len(group) == 1 else () for group in matched.groups]
    same = all(list(map(fold, one)) == list(map(fold, other)) for one, other in zip(own, imagenets, strict=True))
    return None if same else Names(own, source=shift.own_names)


def departures(shift: ShiftSet, truth: Truth, matched: Matched) -> tuple[str, ...]:
    """Return in what an evaluation is not the paper's of that name, a line each; none for sets that it has not."""
    said = (
        (shift.name in VIDEO_SHIFTS and truth.near is None, "frames by themselves, the paper has the mean of pm-0 and "
         "pm-10: --frames"),
        (shift.name == "ObjectNet" and not shift.crop_px, "with its border, of which 2 px are cut off: --crop"),
    )  # fmt: skip
    own = tuple(line for applies, line in said if applies)
    if shift.frames is not None:
        own += _missing_frames(shift.frames, truth)
    return _size_departures(shift.name, truth.num_judged, len(matched.labels)) + own


def _missing_frames(frames: Frames, truth: Truth) -> tuple[str, ...]:
    """Return how many anchors, and how many frames near those that are judged, are not judged; none: none."""
    found = frozenset(truth.items)
    anchors = frames.near.keys() - found
    near = frozenset[str]().union(*(frames.near[one] for one in frames.near.keys() & found)) - found
    counts = (len(anchors), f"anchors of {frames.source}"), (len(near), f"frames near anchors of {frames.source}")
    return tuple(
        f"{what} that are not judged, without an image or a class: {count:,}" for count, what in counts if count
    )


def _size_departures(name: str, num_items: int, num_classes: int) -> tuple[str, ...]:
    papers_classes, papers_items = _SIZES.get(name, (None, None))
    items = f"{num_items:,} judged, the paper's set has {papers_items or 0:,}"
    classes = f"{num_classes:,} classes, the paper's set has {papers_classes or 0:,}"
    said = ((papers_items not in (None, num_items), items), (papers_classes not in (None, num_classes), classes))
    return tuple(line for applies, line in said if applies)


def _adapt(model: AnyModel, problem: Problem, train: Features) -> tuple[FittedProbe, dict[str, Any]]:
    """Return a logistic regression on ImageNet's training images (section 3.3), its strength chosen on a fifth."""
    labelled = Labelled(train.features, labels_of(problem, train, "--train"), tuple(train.items))
    rest, validation = split_off(labelled, VALIDATION_SHARE)
    device = next(model.parameters()).device.type
    click.echo(f"adapted: fitting {len(train.items):,} images of {problem.num_classes} classes", err=True)
    found = fit_probe(rest, validation, problem.num_classes, by_metric(problem), Settings(device=device))
    strength = found.fitted.strengths[0]
    return found, {
        "strength": strength,
        "strength_is_at_edge": is_edge(strength),
        "converged": found.fitted.converged[0],
        "num_train": len(rest.items),
        "num_validation": len(validation.items),
        **count_unfitted(problem.labels, labelled.labels),
    }
