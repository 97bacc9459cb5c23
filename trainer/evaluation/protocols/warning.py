"""What the paper asks its readers to keep in mind, in our words; every result of these protocols carries it."""

from __future__ import annotations

BIAS = (
    "These numbers describe one model, one set of pictures and one list of labels: another list changes them (the "
    "paper's with and without 'child', section 7.1). The groups are coarse and were given by annotators, not by the "
    "people pictured; using them is not an endorsement. High or equal accuracy on such a set is no proof of fairness "
    "where a model is used: who uses it, for what and on whom decides over harm. The paper calls its probes early and "
    "limited, and rules deployment of its models out (arXiv 2103.00020, section 7.1; model card)."
)

SURVEILLANCE = (
    "This measures what a model could be misused for, so that it is known; it is not a suggestion to build it. "
    "A model that needs no training lowers the effort of surveillance of one's own making, where no data set is to be "
    "had. Surveillance and the recognition of faces are out of scope for the paper's models, whatever their accuracy "
    "(arXiv 2103.00020, section 7.2; model card)."
)
