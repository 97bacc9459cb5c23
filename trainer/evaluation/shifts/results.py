"""What `wit evaluate-robustness` writes to OUT/results/robustness.json, and a page draws.

Accuracies, intervals and differences of them are shares of 1. "classifier" is one of CLASSIFIERS:

  zero_shot  one classifier of ImageNet's class names for all sets; of classes that a set has as one, the best counts
  own_names  one classifier a set, of the names the set itself has ("adapt to class shift"); no rows where it has none
  adapted    a logistic regression on ImageNet's training images ("adapt to ImageNet"); no rows without --train

    {"task": "robustness", "protocol": "shifts", "confidence": 0.995,
     "templates": ["a photo of a {label}.", ...], "class_names": "where they were read",
     "adapted": null | {"strength", "num_train", "num_validation", "strength_is_at_edge", "converged"},
     "imagenet": {"name": "ImageNet", "data": "ImageNet=folder:PATH", "num_items", "num_classes", "rejected": {},
                  "results": [{"classifier": "zero_shot" | "adapted", "accuracy", "interval": [low, high]}, ...]},
     "shifts": [  # those of the paper first, in its order
       {"name": "ObjectNet", "data", "num_items", "num_classes", "num_imagenet_classes", "rejected": {},
        "left_out": {"num_classes", "num_items"},   # what is no class of ImageNet
        "not_as_the_paper": ["still images; ...", ...],
        "metric": "accuracy" | "mean_pm0_pm10",
        "published": {"Zero-shot CLIP": 0.723, ...},  # Table 16; empty for sets that are not the paper's
        "results": [
          {"classifier", "accuracy", "interval": [low, high],  # of a video set the mean of pm-0 and pm-10
           "pm0": null | share, "pm10": null | share,
           "imagenet_on_classes", "imagenet_interval": [low, high],  # ImageNet's images of the set's classes
           "against": "ImageNet on its classes" | "ImageNet",  # x of the standard models, and of this one below
           "x", "expected": null | share, "effective": null | share, "effective_interval": null | [low, high],
           "gap_closed": null | share,
           "relative": null | difference from zero_shot}, ...],
        "standard": null | LINE}, ...],
     "mean": {"over": ["ImageNetV2", ...], "is_the_papers": true,  # all seven and no other
              "results": [{"classifier", "accuracy", "imagenet_on_classes", "gap", "x", "expected", "effective",
                           "effective_interval", "gap_closed", "relative"}, ...],
              "standard": null | LINE},
     "standard": null | {"source": "FILE.csv", "num_models"},  # null: nothing can be said of effective robustness
     "remarks": ["...", ...]}  # a line each, to be shown

In "mean" a set without names of its own counts with its zero_shot accuracy among own_names, as in the paper; its "x" is
the mean of the x of the sets. LINE is a fit in logits, natural ones, and what to draw of it:

    {"slope", "intercept", "correlation", "num_models", "left_out": models without a number for it, or 0 or 1,
     "num_resamples": 1000, "band_confidence": 0.95,
     "points": [{"model", "x", "y"}, ...], "curve": [{"x", "y", "low", "high"}, ...]}
"""

from __future__ import annotations

from typing import Final

CLASSIFIERS: Final = ("zero_shot", "own_names", "adapted")
CONFIDENCE: Final = 0.995
"""Of Clopper-Pearson intervals: alpha of 0.005, as imagenet-testbed has it (Taori et al., 2020)."""
RESULT: Final = "robustness.json"
