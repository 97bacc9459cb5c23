"""Pages of evaluations: one a checkpoint, one that compares checkpoints; as HTML, Markdown and JSON."""

from trainer.evaluation.report.reporting import report

__all__ = ["report"]
