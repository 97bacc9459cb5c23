"""Prints beside imagehash, pdqhash and imagededup on real photographs: processor time, and how many bits lie between.

    python -m benchmarks.fingerprints DATA [--peers PEERS_PYTHON] [--rounds 3]

DATA is the folder of real data (image_text, neardup). The sets: its photographs as a run stores them (JPEG, 512 and 256
px), as PNG of 512 px, and those JPEGs as they come whose shorter side is over 1,000 px. Each tool gets bodies in memory
and decodes them itself: imagehash.phash and pdqhash (in this environment), once each and both from one decoded image;
imagededup's PHash in that of PEERS_PYTHON; ours has pHash, PDQ, quality and the content. A round runs each once in a
process of its own with one thread, imports and the first image not counted; the least of the rounds is shown.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOLS = ("imagehash", "pdqhash", "imagehash + pdqhash, decoded once", "wit exact", "wit", "wit, 8 turns", "wit, pixels")
IMAGEDEDUP = "imagededup"
LEAST_PX = (64, 128, 256, 512, 1 << 16)
"""Samples that the shorter side of a JPEG is decoded at: the last one is always the full size."""
MAX_IMAGES = 150


def main() -> None:
    """Write the sets, time the tools on them, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    here = [sys.executable, "-m", "benchmarks.fingerprints"]
    commands = {tool: [*here, "time", tool] for tool in TOOLS}
    if options.peers:  # by its path for the peers, which have none of our packages
        commands = {IMAGEDEDUP: [options.peers, __file__, "time", IMAGEDEDUP]} | commands
    with tempfile.TemporaryDirectory() as folder:
        write_sets(options.data, Path(folder))
        rounds = [{tool: _run([*line, folder]) for tool, line in commands.items()} for _ in range(options.rounds)]
        best = {tool: {name: min(one[tool][name] for one in rounds) for name in rounds[0][tool]} for tool in commands}
        print_times(best)
        print_bits(Path(folder))
    print_published(options.data / "neardup")


def _run(command: list[str]) -> dict[str, float]:
    single = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=single).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def write_sets(data: Path, folder: Path) -> None:
    """Write the sets, a folder each."""
    from PIL import Image

    from wit.image import Limits, decode, prepare

    paths = sorted((data / "image_text").rglob("*.jp*g"))[::2][:MAX_IMAGES]
    originals = [path.read_bytes() for path in paths]
    sets = {f"JPEG, {side} px": [prepare(body, Limits(side_px=side)).body for body in originals] for side in (512, 256)}
    sets["PNG, 512 px"] = []
    for body in sets["JPEG, 512 px"][:40]:
        buffer = io.BytesIO()
        decode(body).save(buffer, "PNG")
        sets["PNG, 512 px"].append(buffer.getvalue())
    sets["JPEG, over 1,000 px"] = []
    for path in sorted(path for name in ("image_text", "neardup/pdq") for path in data.joinpath(name).rglob("*.jp*g")):
        with Image.open(path) as image:
            if min(image.size) > 1000 and image.mode == "RGB":
                sets["JPEG, over 1,000 px"].append(path.read_bytes())
    for name, bodies in sets.items():
        folder.joinpath(name).mkdir()
        for number, body in enumerate(bodies[:MAX_IMAGES]):
            folder.joinpath(name, f"{number:03d}").write_bytes(body)


def read_sets(folder: Path) -> dict[str, list[bytes]]:
    """Return the bodies of each set that has some."""
    sets = {one.name: [path.read_bytes() for path in sorted(one.iterdir())] for one in sorted(folder.iterdir())}
    return {name: bodies for name, bodies in sets.items() if bodies}


def _imagehash(body: bytes) -> object:
    import imagehash
    from PIL import Image

    return imagehash.phash(Image.open(io.BytesIO(body)))


def _pdqhash(body: bytes) -> object:
    import numpy as np
    import pdqhash
    from PIL import Image

    return pdqhash.compute(np.asarray(Image.open(io.BytesIO(body)).convert("RGB")))


def _both(body: bytes) -> object:
    import imagehash
    import numpy as np
    import pdqhash
    from PIL import Image

    image = Image.open(io.BytesIO(body)).convert("RGB")
    return imagehash.phash(image), pdqhash.compute(np.asarray(image))


def _work(tool: str) -> Callable[[list[bytes]], object]:
    """Return what hashes bodies."""
    one_by_one = {"imagehash": _imagehash, "pdqhash": _pdqhash, "imagehash + pdqhash, decoded once": _both}
    if tool in one_by_one:
        return lambda bodies: [one_by_one[tool](body) for body in bodies]
    if tool == IMAGEDEDUP:
        import numpy as np
        from imagededup.methods import PHash
        from PIL import Image

        hasher = PHash(verbose=False)
        return lambda bodies: [hasher.encode_image(image_array=np.asarray(Image.open(io.BytesIO(b)))) for b in bodies]
    from wit.fingerprint import TURN_OPTIONS, fingerprint_all

    how: dict[str, dict[str, Any]] = {
        "wit exact": {"exact": True},
        "wit": {},
        "wit, 8 turns": {"turns": TURN_OPTIONS["all"]},
        "wit, pixels": {"pixels": True},
    }
    return lambda bodies: fingerprint_all(bodies, **how[tool])


def time_all(tool: str, folder: Path) -> dict[str, float]:
    """Return milliseconds of processor time an image of each set; tables and caches are made before."""
    work, taken = _work(tool), {}
    for name, bodies in read_sets(folder).items():
        work(bodies)
        started = time.process_time()
        work(bodies)
        taken[name] = (time.process_time() - started) / len(bodies) * 1e3
    return taken


def print_times(best: dict[str, dict[str, float]]) -> None:
    """Print a row a tool, and how many times both peers take what ours takes."""
    names = list(best["wit"])
    print(f"| ms of processor time an image | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for tool, taken in best.items():
        print(f"| {tool} | {' | '.join(f'{taken[name]:.2f}' for name in names)} |")
    times = [(best["imagehash"][name] + best["pdqhash"][name]) / best["wit"][name] for name in names]
    print(f"| imagehash and pdqhash / wit | {' | '.join(f'{each:.1f}' for each in times)} |")


def print_bits(folder: Path) -> None:
    """Print the distances of fast from exact prints, and what decoding JPEGs smaller still would cost and save."""
    import numpy as np

    from wit import fingerprint_pictures
    from wit.fingerprint import fingerprint_all

    print("\n| fast beside exact | decoded at | pHash bits: mean, most | PDQ bits: mean, 99 %, most | ms |")
    print("|---|---|---|---|---|")
    for name, bodies in read_sets(folder).items():
        exact = fingerprint_all(bodies, exact=True)
        detailed = exact.quality >= 50
        for least_px in LEAST_PX if name.startswith("JPEG") else LEAST_PX[-1:]:
            fingerprint_pictures.LEAST_PX = least_px
            fast = fingerprint_all(bodies)
            started = time.process_time()
            fingerprint_all(bodies)
            taken = (time.process_time() - started) / len(bodies) * 1e3
            phash = np.bitwise_count(exact.phash ^ fast.phash)[detailed]
            pdq = np.bitwise_count(exact.pdq ^ fast.pdq).sum(axis=1)[detailed]
            at = "full size" if least_px == LEAST_PX[-1] else f"{least_px} px or more"
            bits = f"{phash.mean():.2f}, {phash.max()} | {pdq.mean():.2f}, {np.percentile(pdq, 99):.0f}, {pdq.max()}"
            print(f"| {name} | {at} | {bits} | {taken:.2f} |")


def print_published(neardup: Path) -> None:
    """Print how far PDQ's published values are, by file."""
    from wit.fingerprint import fingerprint

    print("\n| PDQ's published value of | exact, bits | fast, bits | quality |\n|---|---|---|---|")
    with (neardup / "pdq" / "expected_pdq_python.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        body = (neardup / "pdq" / row["file"]).read_bytes()
        found = [fingerprint(body, exact=exact) for exact in (True, False)]
        values = [int("".join(f"{word:016x}" for word in each.pdq[0].tolist()), 16) for each in found]
        exact, fast = ((value ^ int(row["pdq_hex"], 16)).bit_count() for value in values)
        print(f"| {row['file']} | {exact} | {fast} | {found[0].quality[0]} |")


if __name__ == "__main__":
    if sys.argv[1] == "time":
        print(json.dumps(time_all(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
