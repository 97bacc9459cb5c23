"""What is learned: losses over the rows of a batch, each rank its share."""
