"""The learned near-duplicate detector of the CLIP paper's appendix C: model, synthetic edits, training, export."""
