"""wit: what a sample is. Contracts and pure functions shared by queries, pipelines and trainer."""

__version__ = "0.1.0"
