"""Evaluation sets in the formats that they are published in: their images, and the class of each.

`parse` names a set, `list_set` says what it is and cuts it into pieces for tasks, `read_items` reads them.
"""

from wit.evaluation_sets.labels import has_several, order_classes, split_labels
from wit.evaluation_sets.listing import list_inputs, list_set
from wit.evaluation_sets.pieces import Fold, Item, Listing, Piece
from wit.evaluation_sets.reading import read_items
from wit.evaluation_sets.sets import FORMATS, EvaluationSet, parse, parse_all

__all__ = [
    "FORMATS",
    "EvaluationSet",
    "Fold",
    "Item",
    "Listing",
    "Piece",
    "has_several",
    "list_inputs",
    "list_set",
    "order_classes",
    "parse",
    "parse_all",
    "read_items",
    "split_labels",
]
