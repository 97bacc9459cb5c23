"""A step of training: micro-batches, their gradients, and what may be done with them."""
