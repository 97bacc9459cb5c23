"""How well near-duplicates are found: recall and false pairs over radius, on planted edits of real photos."""
