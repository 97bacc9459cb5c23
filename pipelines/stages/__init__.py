"""The ten stages, one verb a file, and what several of them need."""
