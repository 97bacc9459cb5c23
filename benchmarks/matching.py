"""Captions to matches in both modes: ours, pyahocorasick as MetaCLIP uses it, and ahocorasick_rs, interleaved.

    python -m benchmarks.matching CAPTIONS.parquet DUMP.xml.bz2 [--wordnet FOLDER] [--peers PEERS_PYTHON]
        [--captions 100000] [--rounds 3]

Captions: real ones (column TEXT) joined by ", " and cut at a space, 84 to 114 characters, drawn by a fixed seed. Lists:
the nouns of WordNet; and these, all distinct words and bigrams of the dump's prose, and its runs of three words in
their order, up to 500,000 terms. PEERS_PYTHON has pyahocorasick and ahocorasick_rs, see `matching_peers`. A round runs
each once, in a process of its own, in one thread; the table has the least CPU time of the rounds. Ours is given the
captions as Arrow arrays of 4,096, as the stage is, and normalises or spaces them; the peers, in the default mode, get
normal forms, and are given one caption at a time. All must find as many matches.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wit.matching import DEFAULT, MODES, Matcher
from wit.tokens import normal_form_array, normal_lines

BATCH = 4096
SHORTEST, LONGEST = 84, 114  # characters of a caption
MOST_TERMS = 500_000
PEERS_SCRIPT = Path(__file__).with_name("matching_peers.py")
PEERS = ("pyahocorasick", "ahocorasick_rs")


def main() -> None:
    """Write captions and lists, time everyone on them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("dump")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--peers", default="")
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tools = ("wit", *(PEERS if options.peers else ()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_captions(options.real, folder, options.captions)
        lists = write_lists(options.wordnet, options.dump, folder)
        jobs = list(product(lists, MODES, tools))
        rounds = [{job: _run(folder, *job, options.peers) for job in jobs} for _ in range(options.rounds)]
    _print_table({job: [facts[job] for facts in rounds] for job in jobs}, lists, options.captions)


def write_captions(real: Path, folder: Path, num_captions: int) -> None:
    """Write captions.jsonl, a JSON string a line, and forms.jsonl, their normal forms."""
    texts = [text for text in pq.read_table(real).column("TEXT").to_pylist() if text]
    draw = random.Random(0)
    captions = [_caption(draw, texts) for _ in range(num_captions)]
    _write(folder / "captions.jsonl", captions)
    _write(folder / "forms.jsonl", normal_form_array(pa.array(captions)).to_pylist())


def _caption(draw: random.Random, texts: list[str]) -> str:
    caption = draw.choice(texts)
    while len(caption) < SHORTEST:
        caption += ", " + draw.choice(texts)
    return caption if len(caption) <= LONGEST else caption[:LONGEST].rpartition(" ")[0] or caption[:LONGEST]


def write_lists(wordnet: Path, dump: str, folder: Path) -> dict[str, int]:
    """Write nouns.jsonl and large.jsonl; return how many terms each has."""
    lines = [line for line in (wordnet / "index.noun").read_text().splitlines() if not line.startswith(" ")]
    lemmas = pa.array([line.split()[0].replace("_", " ") for line in lines])
    nouns = [form for form in dict.fromkeys(normal_form_array(lemmas).to_pylist()) if form]
    prose = [line.split() for line in _prose(dump)]
    runs = chain.from_iterable(_runs(prose, length) for length in (1, 2, 3))
    large = dict.fromkeys(chain(nouns, runs))
    lists = {"nouns": nouns, "large": list(large)[:MOST_TERMS]}
    for name, terms in lists.items():
        _write(folder / f"{name}.jsonl", terms)
    return {name: len(terms) for name, terms in lists.items()}


def _prose(url: str) -> Iterator[str]:
    """Yield the normalised lines of a dump's articles; one bzip2 stream or several."""
    from queries.dumps import PartReader, open_dump, parts
    from queries.wikitext import Prose

    dump = open_dump(url)
    convert = Prose(dump.site.link_rules())
    for part in parts(dump, lambda index: "", lambda _: True):
        for chunk in PartReader(part):
            text, _ = normal_lines(*convert(chunk.text, chunk.offsets))
            yield from text.tobytes().decode().split("\n")


def _runs(lines: list[list[str]], length: int) -> Iterator[str]:
    for words in lines:
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _write(path: Path, strings: list[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(string) + "\n" for string in strings)


def _run(folder: Path, name: str, mode: str, tool: str, peers: str) -> dict[str, Any]:
    terms = str(folder / f"{name}.jsonl")
    if tool == "wit":
        command = [sys.executable, "-c", "from benchmarks.matching import ours; ours()", mode]
        command += [str(folder / "captions.jsonl"), terms]
    else:
        captions = folder / ("forms.jsonl" if mode == DEFAULT else "captions.jsonl")
        command = [peers, str(PEERS_SCRIPT), tool, mode, str(captions), terms]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def ours() -> None:
    """Build, match every caption once, print the facts; loading and compiled code are not counted."""
    mode, captions_file, terms_file = sys.argv[1:]
    captions, terms = (_read(Path(name)) for name in (captions_file, terms_file))
    Matcher(terms[:2], mode).match(captions[:2])
    memory_kb = _resident_kb()
    started = time.process_time()
    matcher = Matcher(terms, mode)
    build_s = time.process_time() - started
    memory_kb = _resident_kb() - memory_kb
    batches = [captions[start : start + BATCH] for start in range(0, len(captions), BATCH)]
    started = time.process_time()
    num_matches = sum(len(matcher.match(batch).rows) for batch in batches)
    seconds = time.process_time() - started
    facts = {"seconds": seconds, "build_s": build_s, "build_mb": memory_kb / 1000}
    print(json.dumps({"name": "wit", "num_matches": num_matches, **facts}))


def _resident_kb() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def _read(path: Path) -> pa.Array:
    return pa.array([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])


def _print_table(found: dict[tuple[str, str, str], list[dict[str, Any]]], lists: dict[str, int], num: int) -> None:
    print("| terms | mode | tool | captions/s | matches a caption | build s | build MB |")
    print("|---|---|---|---|---|---|---|")
    for (name, mode, _), facts in found.items():
        seconds, build_s, build_mb = (min(each[key] for each in facts) for key in ("seconds", "build_s", "build_mb"))
        num_matches = {each["num_matches"] for each in facts}
        num_matches |= {each["num_matches"] for each in found[name, mode, "wit"]}
        assert len(num_matches) == 1, f"{name}, {mode}: the tools differ: {num_matches}"
        row = [f"{lists[name]:,}", mode, facts[0]["name"], f"{num / seconds:,.0f}", f"{num_matches.pop() / num:.1f}"]
        print("| " + " | ".join([*row, f"{build_s:.2f}", f"{build_mb:.0f}"]) + " |")


if __name__ == "__main__":
    main()
