"""The ten stages, one verb a file."""
