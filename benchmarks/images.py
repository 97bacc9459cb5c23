"""prepare() against img2dataset's Resizer on real photographs, at two sizes: processor time, and where ours goes.

    python -m benchmarks.images DATA --peers PEERS_PYTHON [--rounds 3]

DATA is the folder of real data (image_text, neardup, peers). The sets: JPEGs as they come, by their longer side, and
two that the largest of them are brought to as the web has them (4:2:0, quality 85): 500 and 2,400 px. PEERS_PYTHON has
img2dataset, with keep_ratio_largest, only if bigger, and all else as it is by default (area down, quality 95). Both get
bodies in memory and give bytes; ours also hashes both and counts levels. A round runs each once in a process of its
own, imports and compiled code not counted; the least of the rounds is shown.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDES = (256, 512)
FOLDERS = ("image_text", "neardup", "peers/img2dataset/resize_test_image")
RANGES = {"400-600 px": (400, 600), "600-1000 px": (600, 1000), "1500-3000 px": (1500, 3000)}
MADE = {"made 500 px": 500, "made 2400 px": 2400}
MAX_IMAGES = 40
PARTS = {
    "decode": ("wit.jpeg", "decode"),
    "resample": ("wit.image_planes", "resample"),
    "encode": ("wit.jpeg", "encode"),
    "hashes": ("wit.image", "_prepared"),
    "header": ("wit.jpeg", "read_header"),
    "entropy": ("wit.image", "entropy_bits"),
    "Pillow": ("wit.image", "_prepare_any"),
}
"""Parts of prepare(), by where its functions are looked up; Pillow: all of an image that is no plain JPEG."""


def main() -> None:
    """Write the sets, time both on them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # By its path for the peers, which have none of our packages.
    commands = {"img2dataset": [options.peers, __file__], "wit": [sys.executable, "-m", "benchmarks.images"]}
    with tempfile.TemporaryDirectory() as folder:
        write_sets(options.data, Path(folder))
        rounds = [
            {tool: _run([*command, "time", tool, folder]) for tool, command in commands.items()}
            for _ in range(options.rounds)
        ]
        parts = _run([*commands["wit"], "parts", folder])
    best = {tool: {name: min(one[tool][name] for one in rounds) for name in rounds[0][tool]} for tool in rounds[0]}
    _print_tables(best, parts)


def _run(command: list[str]) -> dict[str, Any]:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _print_tables(best: dict[str, dict[str, float]], parts: dict[str, dict[str, float]]) -> None:
    print("| photographs | to | img2dataset, ms | wit, ms | times |\n|---|---|---|---|---|")
    for name, theirs in best["img2dataset"].items():
        ours = best["wit"][name]
        photographs, side = name.split("|")
        print(f"| {photographs} | {side} px | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f} |")
    print(f"\n| of wit's, ms | to | {' | '.join(PARTS)} |\n|---|---|{'---|' * len(PARTS)}")
    for name, spent in parts.items():
        photographs, side = name.split("|")
        print(f"| {photographs} | {side} px | {' | '.join(f'{spent[part]:.2f}' for part in PARTS)} |")


def write_sets(data: Path, folder: Path) -> None:
    """Write the sets of JPEGs, a folder each."""
    from PIL import Image

    sets: dict[str, list[bytes]] = {name: [] for name in (*RANGES, *MADE)}
    for path in sorted(path for name in FOLDERS for path in data.joinpath(name).rglob("*.jp*g")):
        body = path.read_bytes()
        try:
            with Image.open(io.BytesIO(body)) as image:
                image.load()
        except OSError:
            continue
        longer = max(image.size)
        for name, (least, most) in RANGES.items():
            if least <= longer < most:
                sets[name].append(body)
        for name, side in MADE.items() if longer >= 1000 else ():
            size = tuple(round(length * side / longer) for length in image.size)
            buffer = io.BytesIO()
            image.convert("RGB").resize((size[0], size[1])).save(buffer, "JPEG", quality=85)
            sets[name].append(buffer.getvalue())
    for name, bodies in sets.items():
        folder.joinpath(name).mkdir()
        for number, body in enumerate(bodies[:MAX_IMAGES]):
            folder.joinpath(name, f"{number:03d}.jpg").write_bytes(body)


def read_sets(folder: Path) -> dict[str, list[bytes]]:
    """Return the bodies of each set that has some."""
    sets = {one.name: [path.read_bytes() for path in sorted(one.iterdir())] for one in sorted(folder.iterdir())}
    return {name: bodies for name, bodies in sets.items() if bodies}


def _img2dataset(side: int) -> Callable[[bytes], object]:
    from img2dataset.resizer import Resizer

    resizer = Resizer(side, "keep_ratio_largest", True)

    def resize(body: bytes) -> object:
        result = resizer(io.BytesIO(body))
        assert result[-1] is None, result[-1]
        return result

    return resize


def _wit(side: int) -> Callable[[bytes], object]:
    from wit.image import Limits, prepare

    limits = Limits(side_px=side)
    return lambda body: prepare(body, limits)


def time_all(tool: str, folder: Path) -> dict[str, float]:
    """Return milliseconds of processor time an image, of each set at each size; the first image of each is warm-up."""
    taken = {}
    for side in SIDES:
        work = {"img2dataset": _img2dataset, "wit": _wit}[tool](side)
        for name, bodies in read_sets(folder).items():
            work(bodies[0])
            started = time.process_time()
            for body in bodies:
                work(body)
            taken[f"{name}|{side}"] = (time.process_time() - started) / len(bodies) * 1e3
    return taken


def time_parts(folder: Path) -> dict[str, dict[str, float]]:
    """Return milliseconds an image in each part of ours."""
    from importlib import import_module

    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            result = function(*arguments, **options)
            spent[part] += time.process_time() - started
            return result

        return run

    for part, (module, name) in PARTS.items():
        setattr(import_module(module), name, timed(part, getattr(import_module(module), name)))
    found = {}
    for side in SIDES:
        work = _wit(side)
        for name, bodies in read_sets(folder).items():
            work(bodies[0])
            spent.update(dict.fromkeys(PARTS, 0.0))
            for body in bodies:
                work(body)
            found[f"{name}|{side}"] = {part: seconds / len(bodies) * 1e3 for part, seconds in spent.items()}
    return found


if __name__ == "__main__":
    if sys.argv[1] == "time":
        print(json.dumps(time_all(sys.argv[2], Path(sys.argv[3]))))
    elif sys.argv[1] == "parts":
        print(json.dumps(time_parts(Path(sys.argv[2]))))
    else:
        main()
