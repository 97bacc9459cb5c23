"""Processes that train together, and one model on all of them."""
