"""Robustness as the paper's section 3.3 measures it: ImageNet beside the sets of natural distribution shift."""
