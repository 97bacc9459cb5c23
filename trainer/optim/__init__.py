"""AdamW as the paper has it, in any of three precisions, and its learning rate."""

from trainer.optim.adamw import AdamW, build_optimiser
from trainer.optim.schedule import learning_rate, set_learning_rate

__all__ = ["AdamW", "build_optimiser", "learning_rate", "set_learning_rate"]
