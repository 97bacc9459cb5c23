"""What the peers do with the same shards; runs in an environment of its own, which has webdataset, torch and open_clip.

    PEERS_PYTHON benchmarks/loading_peers.py JOB FOLDER

FOLDER holds what `benchmarks.loading` writes: shards, texts.jsonl. Prints one line of JSON. Seconds are of the
processor where a job runs in one process, and of the clock in `loader`; imports and the first samples are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

ROUNDS = 3
BATCH_SIZE, IMAGE_PX, CONTEXT_LENGTH = 64, 224, 77


def least(work: Callable[[], Any]) -> float:
    """Return the least processor time of some runs."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def urls(folder: Path) -> list[str]:
    """Return the tars of a folder."""
    return sorted(map(str, folder.glob("*.tar")))


def reading(folder: Path) -> dict[str, float]:
    """Read every image's bytes and its caption's, undecoded, in the order of the tars."""
    import webdataset as wds

    def samples() -> Iterator[Any]:
        return iter(wds.DataPipeline(wds.SimpleShardList(urls(folder)), wds.tarfile_to_samples()))

    num = sum(1 for one in samples() if one["jpg"] and one["txt"])
    return {"per_s": num / least(lambda: sum(1 for _ in samples()))}


def decoding(folder: Path) -> dict[str, float]:
    """Decode, crop and normalise each picture as open_clip's training does, and open it as its pipeline does."""
    import open_clip  # type: ignore[import-not-found,unused-ignore]
    import torch
    import webdataset as wds

    torch.set_num_threads(1)
    transform = open_clip.image_transform(IMAGE_PX, is_train=True)
    open_image = wds.autodecode.ImageHandler("pilrgb", ["jpg"])
    bodies = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]

    def work() -> None:
        for body in bodies:
            transform(open_image("jpg", body))

    work()
    return {"ms": least(work) / len(bodies) * 1e3}


def tokenising(folder: Path) -> dict[str, Any]:
    """Encode the captions, one at a time as the pipeline does; and the ids of all texts, without start and end."""
    import open_clip

    texts, captions = read_texts(folder)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    first = least_once(lambda: [tokenizer(caption)[0] for caption in captions])
    seconds = least(lambda: [tokenizer(caption)[0] for caption in captions])
    ids = [tokenizer.encode(text) for text in texts + captions]
    return {"first_per_s": len(captions) / first, "per_s": len(captions) / seconds, "ids": ids}


def least_once(work: Callable[[], Any]) -> float:
    """Return the processor time of one run."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def read_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Return the texts that are compared alone, and the captions."""
    lines = (folder / "texts.jsonl").read_text().splitlines()
    return json.loads(lines[0]), json.loads(lines[1])


def loader(folder: Path) -> dict[str, float]:
    """Images a second of open_clip's pipeline and WebLoader, with one worker and with two; shuffled as it does."""
    return {str(workers): _loader(folder, workers) for workers in (1, 2)}


def _loader(folder: Path, workers: int) -> float:
    import webdataset as wds

    batches = iter(wds.WebLoader(pipeline(folder), batch_size=None, shuffle=False, num_workers=workers))
    warm_up, num = 2 * workers + 2, 16
    for _ in range(warm_up):
        next(batches)
    begun = time.perf_counter()
    for _ in range(num):
        next(batches)
    return num * BATCH_SIZE / (time.perf_counter() - begun)


def pipeline(folder: Path) -> Any:
    """Return the steps of open_clip's get_wds_dataset, 3.3.0, with a buffer that a small set fills; without end."""
    import open_clip
    import torch
    import webdataset as wds

    torch.set_num_threads(1)
    transform = open_clip.image_transform(IMAGE_PX, is_train=True)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    return wds.DataPipeline(
        wds.ResampledShards(urls(folder)),
        wds.tarfile_to_samples(),
        wds.shuffle(bufsize=100, initial=100),
        wds.decode("pilrgb"),
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.map_dict(image=transform, text=lambda text: tokenizer(text)[0]),
        wds.to_tuple("image", "text"),
        wds.batched(BATCH_SIZE, partial=False),
    )


def first_batch(folder: Path) -> dict[str, float]:
    """Seconds to the first batch, undecoded, over many shards, with open_clip's shuffles of shards and samples."""
    import webdataset as wds

    begun = time.perf_counter()
    samples = wds.DataPipeline(
        wds.SimpleShardList(urls(folder)),
        wds.shuffle(bufsize=2000, initial=500),
        wds.tarfile_to_samples(),
        wds.shuffle(bufsize=5000, initial=1000),
    )
    list(islice(samples, BATCH_SIZE))
    return {"s": time.perf_counter() - begun}


JOBS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "reading": reading,
    "decoding": decoding,
    "tokenising": tokenising,
    "loader": loader,
    "first_batch": first_batch,
}


def main() -> None:
    """Run the job that the arguments name."""
    job, folder = sys.argv[1:]
    result = JOBS[job](Path(folder))
    print(json.dumps({**result, "versions": {name: version(name) for name in ("webdataset", "open_clip_torch")}}))


if __name__ == "__main__":
    main()
