"""Do memory and throughput hold while many images are prepared, sharded and trained on?

    python scripts/scale_check.py --images 200000 --size 32

Writes that many JPEG files, drawn procedurally, into a temporary folder (TMPDIR says where), then
prepares them, cuts shards, and reads as many images in training batches from the array and from
the shards. What is seen of the process meanwhile goes to results/scale/memory.csv, a row every few
seconds:

    stage, images     what is being done, and how many are done
    seconds, cpu_s    since the stage began: the clock's, and the processor's time of this process
    own_mb            memory of the process itself
    mapped_mb         pages of files in memory, which the kernel takes back when it needs them

Rates are per second of processor time, so that they mean the same on a machine that other work
shares. docs/scale.md says what came out.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil

from cdlib.data.array import PreparedArray
from cdlib.data.batches import TrainingBatches
from cdlib.data.shards import write_shards
from cdlib.data.splits import open_split
from cdlib.data.synthetic import SCENES, draw_scene
from cdlib.runs import resolve, write_text
from cdlib.settings import Profile, load_profile

SHARDS = 50
DRAWINGS = 200  # each file is one of them, shifted and tinted by its number
VALIDATION = 300


class Watch:
    """Rows of what the process takes, stage by stage, from a thread beside it."""

    def __init__(self, every: float):
        self.every = every
        self.rows: list[dict] = []

    @contextmanager
    def stage(self, name: str, done: Callable[[], int]) -> Iterator[None]:
        """Look every so many seconds, and at the end; `done` counts the images."""
        over = threading.Event()
        began, cpu = time.monotonic(), time.process_time()

        def look() -> None:
            memory = psutil.Process().memory_info()
            self.rows.append(
                {
                    "stage": name,
                    "images": done(),
                    "seconds": round(time.monotonic() - began, 2),
                    "cpu_s": round(time.process_time() - cpu, 3),
                    "own_mb": round((memory.rss - memory.shared) / 1e6, 1),
                    "mapped_mb": round(memory.shared / 1e6, 1),
                }
            )

        def repeat() -> None:
            while not over.wait(self.every):
                look()

        thread = threading.Thread(target=repeat)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        look()


def draw_files(root: Path, count: int, size: int) -> None:
    """`count` JPEG files of 1.5 x 1.25 times `size` pixels, in class folders."""
    width, height = size * 3 // 2, size * 5 // 4
    drawings = [cv2.resize(draw_scene(i, width, 0)[0], (width, height)) for i in range(DRAWINGS)]
    for scene in SCENES:
        (root / "train" / scene).mkdir(parents=True)
    for number in range(count):
        shifted = np.roll(drawings[number % DRAWINGS], number // DRAWINGS, axis=1)
        tint = np.random.default_rng(number).integers(0, 40, 3)
        scene = SCENES[number % len(SCENES)]
        path = root / "train" / scene / f"{number:08d}.jpg"
        cv2.imwrite(str(path), cv2.add(shifted, (*tint.tolist(), 0)))


def read_batches(array: PreparedArray, profile: Profile, watch: Watch, stage: str) -> None:
    batches, size = TrainingBatches(array, profile), profile.train.batch_size
    read = 0
    with watch.stage(stage, lambda: read):
        for step in range(len(array) // size):
            batches.batch(step)
            read += size


def measure(count: int, size: int, folder: Path, every: float) -> pd.DataFrame:
    """All stages on `count` images of `size` pixels; the rows that the module's head describes."""
    raw, prepared, shards = folder / "raw", folder / "prepared", folder / "shards"
    overrides = {
        "size": size,
        "data.prepared": str(prepared),
        "data.scenes": {
            "name": "scenes",
            "source": "folder",
            "root": str(raw),
            "validation": VALIDATION,
        },
    }
    profile = load_profile("quick", overrides)
    draw_files(raw, count + VALIDATION, size)
    watch = Watch(every)
    stem = prepared / "scenes" / f"train-{size}"

    def in_array() -> int:
        sizes = [p.stat().st_size for p in stem.parent.glob(f"{stem.name}.npy*")]
        return max(0, sum(sizes) - 128) // (3 * size**2)

    with watch.stage("prepare", in_array):
        array = open_split(profile, "scenes", "train")
    read_batches(array, profile, watch, "read the array")
    per_shard = -(-count // SHARDS)
    with watch.stage("cut shards", lambda: min(count, per_shard * len(list(shards.glob("*.tar"))))):
        write_shards(array, shards, per_shard, progress=lambda line: None)
    from_shards = load_profile("quick", overrides | {"data.scenes.shards": str(shards)})
    array = open_split(from_shards, "scenes", "train")
    read_batches(array, from_shards, watch, "read the shards")
    return pd.DataFrame(watch.rows)


def tenths(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a stage: its first tenth beside its last, in images a processor second and MB."""
    found = []
    for stage, seen in rows.groupby("stage", sort=False):
        seen = seen[seen["images"] > 0].drop_duplicates("images")
        share = seen["images"] / seen["images"].max()
        first = seen.iloc[: max(2, (share <= 0.1).sum())]
        last = seen.iloc[-max(2, (share >= 0.9).sum()) :]
        found.append(
            {
                "stage": stage,
                "images": seen["images"].max(),
                "images_per_cpu_s_first": _rate(first),
                "images_per_cpu_s_last": _rate(last),
                "own_mb_first": first["own_mb"].max(),
                "own_mb_last": last["own_mb"].max(),
                "mapped_mb_last": last["mapped_mb"].max(),
            }
        )
    return pd.DataFrame(found).round(0)


def _rate(rows: pd.DataFrame) -> float:
    taken = rows[["images", "cpu_s"]].iloc[-1] - rows[["images", "cpu_s"]].iloc[0]
    return taken["images"] / taken["cpu_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--output", type=Path, default=resolve("results/scale/memory.csv"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given.images, given.size, Path(folder), given.every)
    write_text(given.output, rows.to_csv(index=False))
    print(tenths(rows).to_markdown(index=False))


if __name__ == "__main__":
    main()
