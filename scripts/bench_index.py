"""How fast the near-duplicate index is, beside a look at every hash and faiss, from ten thousand hashes to ten
million.

    .venv/bin/python scripts/bench_index.py [--sizes 10000,100000,1000000,10000000] [--radius 6] [--queries 100]
                                            [--json scripts/results/bench_index.json]

Hashes are those of the pictures of the package's footage (some thousands), each bit flipped with a chance of
1/2, 1/4, 1/8 or 1/16, so that they crowd as near-duplicates do. Half of the queries are stored hashes with
radius - 1, radius or radius + 1 bits flipped, half are new ones. For each size, before any clock starts, every
answer of the index is compared with that of a look at every hash, for radius - 1, radius and radius + 1, as it
is and after it has grown.

Then, alternating, the time of a query (median, 95th and 100th percentile) by the index as mapped from its file,
in one NumPy expression over all hashes, in NumPy over blocks that stay in the cache (the quicker of these two is
what the index is compared with), and by faiss's IndexBinaryFlat and IndexBinaryMultiHash on one thread, where
faiss is installed. What opening the file takes in time and memory is measured in a process of its own. Needs 1.5
GB of memory, 0.3 GB of disk for a while, and some four minutes for ten million.

Exit codes: 0 every answer was right; 1 one was not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from bench.results import leave, machine
from numpy.typing import NDArray

from harvester.model import Codec, Picture, StreamInfo
from harvester.sandbox.footage import PACKAGE_INDEX, read_index
from harvester.store.index import map_file, write_file
from harvester.store.ledger import AnchorMark
from harvester.vision.hamming import MAX_RADIUS, HashIndex, Match, Tables
from harvester.vision.measure import measure
from harvester.vision.phash import phash

Hashes = NDArray[np.uint64]
Query = Callable[[int], Match | None]

SEED = 20261122
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
RESULTS = Path(__file__).parent / "results" / "bench_index.json"

#: Hashes in a block of the quicker brute force: with temporary arrays 512 kB, less than a cache of level 2.
BLOCK = 1 << 15
#: Hashes added one by one; as many again are added on top of the mapped file, so that merging is part of it.
ADDED = 200_000
#: Most looks at all of 10 million hashes that are timed, of each kind (0.1 s each).
BRUTE_QUERIES = 20
#: faiss's multi-index hash keeps 10 million in several GB: it is asked up to this size.
MULTI_HASH_MOST = 1_000_000
#: What the file says about a ledger that is not there.
NO_LEDGER = AnchorMark(0, 0, 0, "", "")


def real_hashes() -> Hashes:
    """(n,) distinct hashes of all pictures of the package's footage, 360 lines high."""
    found: set[int] = set()
    for session in read_index(PACKAGE_INDEX):
        with av.open(session.file(360).path) as container:
            for frame in container.decode(video=0):
                y = frame.to_ndarray()[: frame.height]
                stream = StreamInfo(Codec.H264, frame.width, frame.height, chroma="400")
                found.add(phash(measure(Picture(stream, y, None, None)).grid))
    return np.array(sorted(found), np.uint64)


def perturbed(real: Hashes, n: int, rng: np.random.Generator) -> Hashes:
    """(n,) hashes of ``real``, each with a share of 1/2, 1/4, 1/8 or 1/16 of its bits flipped, by chance."""
    hashes = rng.choice(real, n)
    share = rng.integers(1, 5, n)
    flips = np.full(n, (1 << 64) - 1, np.uint64)
    for step in range(1, 5):
        flips &= np.where(share >= step, rng.integers(0, 1 << 64, n, np.uint64), np.uint64((1 << 64) - 1))
    return hashes ^ flips


def asked(stored: Hashes, real: Hashes, radius: int, n: int, rng: np.random.Generator) -> list[int]:
    """Half of the ``n`` queries near stored hashes, half new."""
    near = rng.choice(stored, n // 2).tolist()
    for place, value in enumerate(near):
        for bit in rng.permutation(64)[: max(0, radius - 1 + place % 3)].tolist():
            value ^= 1 << bit  # noqa: PLW2901 - written back below
        near[place] = value
    return near + perturbed(real, n - len(near), rng).tolist()


# -- the ways to ask --------------------------------------------------------------------------------------


def at_once(hashes: Hashes, keys: NDArray[np.int64], radius: int) -> Query:
    """A look at every hash in one expression."""

    def query(value: int) -> Match | None:
        distances = np.bitwise_count(hashes ^ np.uint64(value))
        least = int(distances.min())
        return Match(int(keys[distances == least].min()), least) if least <= radius else None

    return query


def in_blocks(hashes: Hashes, keys: NDArray[np.int64], radius: int) -> Query:
    """A look at every hash, a cache's worth at a time."""

    def query(value: int) -> Match | None:
        best: tuple[int, int] | None = None
        for at in range(0, len(hashes), BLOCK):
            distances = np.bitwise_count(hashes[at : at + BLOCK] ^ np.uint64(value))
            least = int(distances.min())
            if least <= (best[0] if best else radius):
                found = (least, int(keys[at : at + BLOCK][distances == least].min()))
                best = min(found, best or found)
        return Match(best[1], best[0]) if best else None

    return query


def of_faiss(hashes: Hashes) -> dict[str, Query]:
    """faiss's binary indexes, on one thread; {} where it is not installed. Of ties they give any key."""
    try:
        import faiss
    except ImportError:
        return {}
    faiss.omp_set_num_threads(1)
    indexes = {"faiss IndexBinaryFlat": faiss.IndexBinaryFlat(64)}
    if len(hashes) <= MULTI_HASH_MOST:
        multi = faiss.IndexBinaryMultiHash(64, 4, 16)
        multi.nflip = 1
        indexes["faiss IndexBinaryMultiHash"] = multi
    codes = hashes.view(np.uint8).reshape(-1, 8)
    for index in indexes.values():
        index.add(codes)

    def query(index: Any) -> Query:
        def ask(value: int) -> Match | None:
            distances, keys = index.search(np.array([[value]], np.uint64).view(np.uint8), 1)
            return Match(int(keys[0, 0]), int(distances[0, 0]))

        return ask

    return {name: query(index) for name, index in indexes.items()}


# -- what is measured -------------------------------------------------------------------------------------


def wrong_answers(
    index: HashIndex, hashes: Hashes, keys: NDArray[np.int64], queries: list[int], radius: int
) -> int:
    """How many answers, at the radius and beside it, are not those of a look at every hash."""
    wrong = 0
    for value in queries:
        nearest = at_once(hashes, keys, 64)(value)
        for near in {max(0, radius - 1), radius, min(MAX_RADIUS, radius + 1)}:
            expected = nearest if nearest and nearest.distance <= near else None
            wrong += index.nearest(value, near) != expected
    return wrong


def times_us(ways: dict[str, Query], queries: Sequence[int], few: Sequence[int]) -> dict[str, dict[str, float]]:
    """Time of a query by each way, asked in turns; the ways after the first are asked the ``few``."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    first = next(iter(ways))
    for value in queries:
        for name, query in ways.items():
            if name == first or value in few:
                begin = time.perf_counter()
                query(value)
                spent[name].append(1e6 * (time.perf_counter() - begin))
    return {
        name: {"median": statistics.median(s), "p95": float(np.percentile(s, 95)), "max": max(s)}
        for name, s in spent.items()
    }


def opened_alone(file: Path, queries: list[int], radius: int) -> dict[str, float]:
    """Seconds to open the file and MB of memory that a process has more for it, after the queries."""
    child = [sys.executable, __file__, "--open", str(file), "--radius", str(radius)]
    done = subprocess.run(child, input=json.dumps(queries), capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def open_and_ask(file: Path, radius: int) -> None:
    """What the process of :func:`opened_alone` does."""
    queries = json.load(sys.stdin)
    before = memory_mb()
    begin = time.perf_counter()
    saved = map_file(file, None)
    seconds = time.perf_counter() - begin
    if saved is None:
        raise SystemExit("the file that was just written is not whole")
    index = HashIndex(saved.tables)
    for value in queries:
        index.nearest(value, radius)
    after = memory_mb()
    print(json.dumps({"open_s": seconds} | {f"{name}_mb": after[name] - before[name] for name in after}))


def memory_mb() -> dict[str, float]:
    """Resident and anonymous memory of this process; {} where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return {"resident": kb["Rss"] * 1024 / 1e6, "anonymous": kb["Anonymous"] * 1024 / 1e6}


def added_per_s(index: HashIndex, hashes: Hashes, first_key: int) -> float:
    """Hashes a second that are added one by one, merging included."""
    values = hashes.tolist()
    begin = time.perf_counter()
    for key, value in enumerate(values, first_key):
        index.add(value, key)
    return len(values) / (time.perf_counter() - begin)


def bench(size: int, radius: int, n_queries: int, real: Hashes, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    rng = np.random.default_rng([SEED, size])
    stored, more = perturbed(real, size, rng), perturbed(real, ADDED, rng)
    keys = np.arange(size, dtype=np.int64)
    queries = asked(stored, real, radius, n_queries, rng)
    file = folder / f"{size}.hashes"

    begin = time.perf_counter()
    tables = Tables.of(stored, keys)
    built_s = time.perf_counter() - begin
    write_file(file, None, tables, NO_LEDGER)
    written_s = time.perf_counter() - begin - built_s
    del tables
    saved = map_file(file, None)
    if saved is None:
        raise SystemExit("the file that was just written is not whole")
    index = HashIndex(saved.tables)
    few = queries[:: max(1, len(queries) // BRUTE_QUERIES)]
    wrong = wrong_answers(index, stored, keys, few if size > 1_000_000 else queries, radius)

    ways: dict[str, Query] = {"index": lambda value: index.nearest(value, radius)}
    ways |= {"NumPy, at once": at_once(stored, keys, radius), "NumPy, in blocks": in_blocks(stored, keys, radius)}
    ways |= of_faiss(stored)
    times = times_us(ways, queries, few)
    row: dict[str, Any] = {
        "hashes": size,
        "distinct": len(saved.tables),
        "file_mb": file.stat().st_size / 1e6,
        "build_s": built_s,
        "write_s": written_s,
        **opened_alone(file, queries, radius),
        "query_us": times,
    }
    brute_us = min(times[name]["median"] for name in ("NumPy, at once", "NumPy, in blocks"))
    row["times_brute_force"] = brute_us / times["index"]["median"]

    row["added_per_s_from_empty"] = added_per_s(HashIndex(), stored[:ADDED], 0)
    row["added_per_s_on_top"] = added_per_s(index, more, size)
    all_keys = np.arange(size + ADDED, dtype=np.int64)
    all_hashes = np.concatenate([stored, more])
    wrong += wrong_answers(index, all_hashes, all_keys, few, radius)
    grown = times_us({"index": lambda value: index.nearest(value, radius)}, queries, few)
    return row | {"grown_query_us": grown["index"], "wrong_answers": wrong}


# -- saying it --------------------------------------------------------------------------------------------


def line(row: dict[str, Any]) -> str:
    times = row["query_us"]
    faiss = ", ".join(f"{name} {t['median']:.0f} us" for name, t in times.items() if name.startswith("faiss"))
    return (
        f"{row['hashes']:>10,}  query {times['index']['median']:.0f} us (p95 {times['index']['p95']:.0f}, grown"
        f" {row['grown_query_us']['median']:.0f});  at once {times['NumPy, at once']['median']:.0f} us, in blocks"
        f" {times['NumPy, in blocks']['median']:.0f} us, {faiss or 'faiss is not installed'};"
        f"  {row['times_brute_force']:.1f} x brute force\n"
        f"{'':12}file {row['file_mb']:.0f} MB, built in {row['build_s']:.1f} s, opened in {row['open_s']:.2f} s,"
        f" memory +{row.get('resident_mb', float('nan')):.0f} MB (anonymous"
        f" +{row.get('anonymous_mb', float('nan')):.0f}); added {row['added_per_s_from_empty']:,.0f}/s from empty,"
        f" {row['added_per_s_on_top']:,.0f}/s on top; wrong answers: {row['wrong_answers']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=SIZES)
    parser.add_argument("--radius", type=int, choices=range(MAX_RADIUS + 1), default=6)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_and_ask(options.open, options.radius)
        return 0
    real = real_hashes()
    print(f"{len(real)} distinct hashes of real pictures; radius {options.radius}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            rows.append(bench(size, options.radius, options.queries, real, Path(folder)))
            print(line(rows[-1]), flush=True)
    leave(
        options.json,
        "bench_index",
        machine(),
        numpy=np.__version__,
        radius=options.radius,
        queries=options.queries,
        real_hashes=len(real),
        rows=rows,
    )
    return 1 if any(row["wrong_answers"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
