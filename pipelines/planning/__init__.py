"""What a run will cost: assumptions, each with its source, and the arithmetic over them."""
