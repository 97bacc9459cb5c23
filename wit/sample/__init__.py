"""The miniature web with known answers."""
