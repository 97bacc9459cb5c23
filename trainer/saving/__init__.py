"""What outlives a run: checkpoints, and the tensors in them."""
