"""Evaluation sets in the formats that they are published in: their images, and the class of each.

`parse` names a set, `list_set` says what it is and cuts it into pieces for tasks, `read_items` reads them.
"""

from pipelines.sources.evaluation.labels import order_classes
from pipelines.sources.evaluation.listing import list_inputs, list_set
from pipelines.sources.evaluation.pieces import Item, Listing, Piece
from pipelines.sources.evaluation.reading import read_items
from pipelines.sources.evaluation.sets import FORMATS, EvaluationSet, parse, parse_all

__all__ = [
    "FORMATS",
    "EvaluationSet",
    "Item",
    "Listing",
    "Piece",
    "list_inputs",
    "list_set",
    "order_classes",
    "parse",
    "parse_all",
    "read_items",
]
