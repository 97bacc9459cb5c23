"""AdamW as the paper has it, in any of three precisions, and its learning rate."""
