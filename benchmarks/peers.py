"""What the peers do with the same input; runs in an environment of its own, which has gensim and mwparserfromhell.

    PEERS_PYTHON benchmarks/peers.py prose {gensim,mwparserfromhell} PAGES.jsonl PROSE.jsonl
    PEERS_PYTHON benchmarks/peers.py phrases DUMP.xml.bz2 PROCESSES

`prose` reads a JSON string a line, the wikitext of a page, and writes a JSON string a line, its prose. `phrases` counts
a dump's bigrams and scores them by NPMI with the least count of 100, as the list of queries is built. Both print one
line of JSON: seconds of the work alone, without imports and files of the benchmark's own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

REPEATS = 3


def _gensim() -> Callable[[str], str]:
    from gensim.corpora.wikicorpus import filter_wiki

    return filter_wiki


def _mwparserfromhell() -> Callable[[str], str]:
    import mwparserfromhell

    return lambda wikitext: mwparserfromhell.parse(wikitext).strip_code()


PROSE = {"gensim": _gensim, "mwparserfromhell": _mwparserfromhell}


def prose(peer: str, pages: str, out: str) -> dict[str, Any]:
    """Write the prose that a peer gives for each page; return the least seconds that a round of all pages took."""
    convert = PROSE[peer]()
    with open(pages, encoding="utf-8") as file:
        wikitexts = [json.loads(line) for line in file]
    texts: list[str] = []
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        texts = [convert(wikitext) for wikitext in wikitexts]
        seconds.append(time.perf_counter() - started)
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
    return {"seconds": min(seconds), "version": version(peer)}


def phrases(dump: str, processes: int) -> dict[str, Any]:
    """Count the bigrams of a dump with `WikiCorpus` and `Phrases`, score them by NPMI; return seconds and counts.

    Every length of article and token is let in, as the list of queries lets them in; the documents stream through, so
    that memory is that of the counts. What occurs less than 100 times is left out when scores are exported, not before.
    """
    from gensim.corpora.wikicorpus import WikiCorpus
    from gensim.models.phrases import Phrases

    started = time.perf_counter()
    corpus = WikiCorpus(
        dump, processes=processes, dictionary={}, article_min_tokens=0, token_min_len=1, token_max_len=1000
    )
    model = Phrases(corpus.get_texts(), min_count=100, threshold=0.0, scoring="npmi", max_vocab_size=1_000_000_000)
    scored = model.export_phrases()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "version": version("gensim"),
        "num_terms": len(model.vocab),
        "num_phrases": len(scored),
        "num_words": model.corpus_word_count,
    }


def main() -> None:
    """Run the job that the arguments name."""
    job, *arguments = sys.argv[1:]
    if job == "prose":
        result = prose(*arguments)
    else:
        dump, processes = arguments
        result = phrases(dump, int(processes))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
