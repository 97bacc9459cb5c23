"""Where candidates come from: one source a file, all behind `pipelines.sources.source.Source`."""
