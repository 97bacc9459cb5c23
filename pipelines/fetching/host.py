"""One host: which of its URLs is asked for next, from when on, and what became of each in the end.

A host's URLs are asked for in their order; those that failed and may pass, once more when all have been asked for, in
the same order. Its breaker counts failures in that order too, not as they come in: no URL is asked for while those
before it, were they all to fail, would give the host up. So which URLs a host was asked for, and what became of them,
depends on what it answers alone, not on when. Refusals that may yet give their host up are told when that is known, and
after those that are given up unasked: so a part that was killed, and goes on with the URLs not told, ends the same.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipelines.fetching.outcome import ROBOTS_DISALLOWED, Body, Refused

GIVEN_UP = "the host was given up"

_NEVER_S = -1.0

Numbers = npt.NDArray[np.int32]
Outcome = Body | Refused
Told = tuple[int, Outcome]
"""The number of a URL, and what became of it in the end."""


@dataclass(frozen=True)
class Rules:
    """How hosts are spared, and what is asked again; the recipe's [fetch] section says what each field means."""

    per_host: int
    host_rate: float
    give_up_after: int
    retries: int
    retry_wait_s: float
    max_wait_s: float
    max_host_s: float

    @property
    def gap_s(self) -> float:
        """Least time between two requests to a host, in seconds."""
        return 1 / self.host_rate if self.host_rate else 0.0


@dataclass(slots=True)
class Ask:
    """One request: the URL's number, and what its host notes about it."""

    number: int
    host: Host
    place: int
    """Among the host's requests."""
    begun_s: float
    earlier_s: float
    """When the host's rate would have allowed the next request, had this one not been made."""
    next_s: float
    """When it allows it now."""


@dataclass(slots=True)
class Host:
    """A host whose turn has come. Times are those of one clock, in seconds."""

    numbers: Numbers
    """In which the URLs of this pass lie, in order; the array of all hosts in the first."""
    follows_done: npt.NDArray[np.bool_]
    """Whether before each of the first pass lies one that an earlier attempt at the part has told."""
    at: int
    """The next URL."""
    stop: int
    """The end of this pass."""
    end_s: float
    """When it has had its time."""
    num_retries: int = 0
    """Passes before this one."""
    again: list[int] = field(default_factory=list)
    """URLs of the next pass."""
    refusals: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    """The last refusal of each URL that has one, is not under way, and is not told yet."""
    settled: list[int] = field(default_factory=list)
    """Those of them that are not asked for again; told when the host is known to live, or is given up."""
    num_running: int = 0
    num_taken: int = 0
    """Requests of all passes."""
    num_answered: int = 0
    """Requests up to the last, in order, that was answered."""
    failed: list[tuple[int, int]] = field(default_factory=list)
    """Place and number of the later ones that have failed, in order."""
    has_answered: bool = False
    num_pauses: int = 0
    """In a row."""
    paused_s: float = _NEVER_S
    """When the last pause began."""
    pause_end_s: float = _NEVER_S
    next_s: float = _NEVER_S
    """When its rate allows the next request."""
    crawl_delay_s: float = 0.0
    failed_s: float = _NEVER_S
    due_s: float | None = None
    """When the schedule looks at it again, if it has to wait."""
    is_queued: bool = False
    """Whether it stands among those that may be asked now."""
    is_given_up: bool = False

    def may_ask(self, rules: Rules) -> bool:
        """Return whether there is a URL to ask for, and a connection for it; whether it is time is another matter."""
        limit = rules.per_host if self.has_answered and not self.failed else 1
        return (
            self.at < self.stop
            and self.num_running < limit
            and self.num_taken - self.num_answered < rules.give_up_after
        )

    def free_s(self) -> float:
        """Return when its rate and pauses allow the next request."""
        return max(self.next_s, self.pause_end_s)

    def take(self, rules: Rules, now_s: float) -> Ask:
        """Return the next request, which begins now."""
        if not self.num_retries and self.follows_done[self.at]:
            self.num_answered, self.failed = self.num_taken, []
        number = int(self.numbers[self.at])
        self.refusals.pop(number, None)
        earlier_s = self.next_s
        self.next_s = now_s + max(rules.gap_s, self.crawl_delay_s)
        ask = Ask(number, self, self.num_taken, now_s, earlier_s, self.next_s)
        self.at += 1
        self.num_taken += 1
        self.num_running += 1
        return ask

    def finish(self, ask: Ask, outcome: Outcome, rules: Rules, now_s: float) -> list[Told]:
        """Note what a request gave; return what is certain now."""
        self.num_running -= 1
        if isinstance(outcome, Body):
            self.has_answered = True
            self._answer(ask)
            return [(ask.number, outcome), *self._released()]
        if outcome.is_unasked and self.next_s == ask.next_s:
            self.next_s = ask.earlier_s
        if outcome.wait_s is not None:
            self._pause(ask, outcome.wait_s, rules, now_s)
        is_failure = outcome.is_unreached or (outcome.is_passing and outcome.wait_s is not None)
        if is_failure:
            self._fail(ask)
        else:
            self.has_answered |= not outcome.is_unasked or outcome.reason == ROBOTS_DISALLOWED
            self._answer(ask)
        return self._judge(ask.number, outcome, is_failure, rules, now_s)

    def _judge(self, number: int, refusal: Refused, is_failure: bool, rules: Rules, now_s: float) -> list[Told]:
        """Have a URL asked for again, keep its refusal, or tell it, with what else is certain now."""
        is_patient = refusal.wait_s is None or refusal.wait_s <= rules.max_wait_s
        if self.is_given_up:
            return [(number, refusal)]
        if refusal.is_passing and self.num_retries < rules.retries and is_patient:
            self.again.append(number)
            self.failed_s = now_s
        elif is_failure:
            self.settled.append(number)
        else:
            return [(number, refusal), *self._released()]
        self.refusals[number] = (refusal.reason, refusal.detail and sys.intern(refusal.detail))
        return self._released()

    def _pause(self, ask: Ask, wait_s: float, rules: Rules, now_s: float) -> None:
        """Leave the host alone; requests that were under way when a pause began do not make the next one longer."""
        if ask.begun_s >= self.paused_s:
            self.num_pauses += 1
            self.paused_s = now_s
        longer_s = rules.retry_wait_s * 2.0 ** min(self.num_pauses - 1, 30)
        self.pause_end_s = max(self.pause_end_s, now_s + min(max(wait_s, longer_s), rules.max_wait_s))

    def _answer(self, ask: Ask) -> None:
        if ask.begun_s >= self.paused_s:
            self.num_pauses = 0
        if ask.place >= self.num_answered:
            self.num_answered = ask.place + 1
            if self.failed:
                self.failed = [failure for failure in self.failed if failure[0] > ask.place]

    def _fail(self, ask: Ask) -> None:
        if ask.place >= self.num_answered:
            insort(self.failed, (ask.place, ask.number))

    def _released(self) -> list[Told]:
        """Return the refusals that can give up the host no more."""
        if self.failed or not self.settled:
            return []
        released: list[Told] = [(number, Refused(*self.refusals.pop(number))) for number in self.settled]
        self.settled = []
        return released

    def is_through(self, rules: Rules) -> bool:
        """Return whether all has been asked for; the next pass begins if there is one, when this one has ended."""
        if self.at < self.stop or self.num_running:
            return False
        if not self.again:
            return True
        self.numbers = np.array(sorted(self.again), np.int32)
        self.again = []
        self.num_retries += 1
        self.at, self.stop = 0, len(self.numbers)
        self.next_s = max(self.next_s, self.failed_s + rules.retry_wait_s)
        return False

    def end(self) -> list[Told]:
        """Return the refusals that are left when all has been asked for."""
        self.failed = []
        return self._released()

    def is_dead(self, rules: Rules) -> bool:
        """Return whether as many requests in a row, in order, have failed as give a host up."""
        return len(self.failed) >= rules.give_up_after

    def give_up(self, reason: str, detail: str) -> Iterator[Told]:
        """Return what becomes of the URLs not told: this, or what those that were asked for were refused with."""
        rest = self.numbers[self.at : 0 if self.num_retries else self.stop]  # those of later passes have been refused
        refusals = self.refusals
        self.stop, self.again, self.settled, self.refusals = self.at, [], [], {}
        self.is_given_up = True
        return _told(rest, reason, detail, refusals)


def _told(rest: Numbers, reason: str, detail: str, refusals: dict[int, tuple[str, str | None]]) -> Iterator[Told]:
    for number in rest:
        yield int(number), Refused(reason, detail)
    for number in sorted(refusals):
        yield number, Refused(*refusals[number])
