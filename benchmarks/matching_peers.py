"""What the peers of wit.matching do with the same captions and terms; runs in an environment of its own.

    PEERS_PYTHON benchmarks/matching_peers.py {pyahocorasick,ahocorasick_rs} {default,metaclip} CAPTIONS TERMS

Both files hold a JSON string a line; for `default` they are normal forms already, so that the peers do not normalise.
For `metaclip` captions are spaced as MetaCLIP's `substr_matching.py` does. Prints one line of JSON: seconds of the loop
over the captions and of building, both of CPU, the distinct matches, and the memory that building took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

Search = Callable[[str], set[int]]


def spaced(text: str) -> str:
    """Return a caption as MetaCLIP looks for terms in it."""
    text = f" {text} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\n\r":
        text = text.replace(blank, " ")
    return text


def padded(text: str) -> str:
    """Return a normal form as terms are looked for in it."""
    return f" {text} "


def pyahocorasick(terms: list[str]) -> Search:
    """MetaCLIP's loop: every end of a term that the automaton reports, into a set."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for number, term in enumerate(terms):
        automaton.add_word(f" {term} ", number)
    automaton.make_automaton()
    return lambda text: {number for _, number in automaton.iter(text)}


def ahocorasick_rs(terms: list[str]) -> Search:
    """The same by another library: overlapping matches of one caption at a time."""
    from ahocorasick_rs import AhoCorasick

    automaton = AhoCorasick([f" {term} " for term in terms])
    return lambda text: {found[0] for found in automaton.find_matches_as_indexes(text, overlapping=True)}


PEERS = {"pyahocorasick": pyahocorasick, "ahocorasick_rs": ahocorasick_rs}


def main() -> None:
    """Build, search every caption once, print the facts."""
    peer, mode, captions_file, terms_file = sys.argv[1:]
    captions, terms = (_read(name) for name in (captions_file, terms_file))
    prepare = spaced if mode == "metaclip" else padded
    memory_kb = _resident_kb()
    started = time.process_time()
    search = PEERS[peer](terms)
    build_s = time.process_time() - started
    memory_kb = _resident_kb() - memory_kb
    started = time.process_time()
    num_matches = sum(len(search(prepare(caption))) for caption in captions)
    seconds = time.process_time() - started
    facts: dict[str, Any] = {"seconds": seconds, "build_s": build_s, "build_mb": memory_kb / 1000}
    print(json.dumps({"name": f"{peer} {version(peer)}", "num_matches": num_matches, **facts}))


def _resident_kb() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def _read(name: str) -> list[str]:
    with open(name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    main()
