"""A run: its loop and its folder, what is measured and logged of it, and how it is stopped."""
