"""Weights of other programs: read, turned into CLIP's own names, and written so that others read them."""
