"""Every error that wit raises on purpose.

WitError
├── UserError            a mistake its user can mend: one line, exit code 2
│   ├── RecipeError      unknown key, wrong type, bad range; names the line
│   ├── InputError       missing, unreadable or malformed input
│   ├── OutputError      no space, no permission, a folder that is not ours
│   ├── NetworkGone      no host answers any more
│   └── MismatchError    the run directory was made from another recipe, input or code
├── StageError           a part failed after its retries: exit code 1
│   └── WorkerDied       the process that worked on a part died each time it was tried
└── ContractError        a table that breaks its schema: a defect in wit or in a plug-in

A message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations


class WitError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UserError(WitError):
    """A mistake that the user can mend; shown as one line."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe with an unknown key, a wrong type or a value out of range."""


class InputError(UserError):
    """An input that is missing, unreadable or not in its format."""


class OutputError(UserError):
    """An output that cannot be written: space, permission, or a foreign folder."""


class NetworkGone(UserError):
    """A network on which no host answers any more."""


class MismatchError(UserError):
    """A run directory whose recipe, inputs or code differ from what is asked now."""


class StageError(WitError):
    """A stage failed on a part after its retries."""


class WorkerDied(StageError):
    """The worker of a part died (a signal, out of memory) every time the part was tried."""


class ContractError(WitError):
    """A table that does not conform to its schema."""


MAX_DETAIL_CHARACTERS = 200
"""Of what is said of a reject, or repeated of another's error."""


def one_line(error: Exception, folder: str = "") -> str:
    """Return the first line of what an error says, at most MAX_DETAIL_CHARACTERS of it.

    The name of a `folder` is left out, for a copy of a file lies in another one each time.
    """
    text = str(error).replace(folder, "") if folder else str(error)
    return (text.splitlines() or [type(error).__name__])[0][:MAX_DETAIL_CHARACTERS]
