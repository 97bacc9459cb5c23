"""A checkpoint put to use: embeddings of images and captions, and search among them."""
