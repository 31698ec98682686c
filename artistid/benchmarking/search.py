"""Libraries of approximate search compared with exact search, on synthetic collections of a million songs and more."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from artistid.benchmarking.material import clustered_vectors
from artistid.benchmarking.measuring import Figure, memory_mb, seconds_of
from artistid.errors import counted, require_choice
from artistid.inference.search_index import CARE, LINKS, THREADS

log = logging.getLogger(__name__)

K = 10  # songs requested
WANTED = 0.95  # recall at which libraries are compared, each with the least effort that reaches it
EFFORTS = (8, 16, 32, 64, 128, 256, 512, 1024)
QUERIES = 200
LISTS_PER_ROOT = 4  # lists: this times the square root of the number of songs
VECTORS_PER_LIST = 64  # to fit the lists' centres
ADDED = 0.01  # of the songs: the size of an update

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]  # the rows nearest to ``(units,)``


class Engine(Protocol):
    """A library's index, which is a file."""

    def write(self, vectors: NDArray[np.float32], path: Path) -> Any:
        """Write an index of ``(songs, units)``; returns the one in memory."""

    def add(self, vectors: NDArray[np.float32], path: Path) -> None:
        """Add more to a file's index, numbered consecutively."""

    def opened(self, path: Path, units: int, effort: int) -> Search:
        """Open it for searching, memory-mapped if the library supports it."""


class FaissLists:
    """Inverted lists of the vectors around centres, by faiss; the effort is the number of lists searched."""

    def write(self, vectors: NDArray[np.float32], path: Path) -> Any:
        import faiss

        lists = round(LISTS_PER_ROOT * len(vectors) ** 0.5)
        index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        drawn = np.random.default_rng(0).choice(len(vectors), min(len(vectors), VECTORS_PER_LIST * lists), False)
        index.train(vectors[drawn])
        index.add(vectors)
        faiss.write_index(index, str(path))
        return index

    def add(self, vectors: NDArray[np.float32], path: Path) -> None:
        import faiss

        index = faiss.read_index(str(path))
        index.add(vectors)
        faiss.write_index(index, str(path))

    def opened(self, path: Path, units: int, effort: int) -> Search:
        import faiss

        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        index.nprobe = effort
        return lambda query: index.search(query[None], K)[1][0]


class FaissGraph(FaissLists):
    """The graph of Malkov & Yashunin (2018), by faiss; the effort is the number of candidates kept."""

    def write(self, vectors: NDArray[np.float32], path: Path) -> Any:
        import faiss

        index: Any = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CARE
        index.add(vectors)
        faiss.write_index(index, str(path))
        return index

    def opened(self, path: Path, units: int, effort: int) -> Search:
        import faiss

        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        index.hnsw.efSearch = effort
        return lambda query: index.search(query[None], K)[1][0]


class Usearch:
    """The same graph, by usearch, made as ``similar`` makes it: by one thread."""

    def write(self, vectors: NDArray[np.float32], path: Path) -> Any:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=CARE)
        self._put(index, vectors, path)
        return index

    def add(self, vectors: NDArray[np.float32], path: Path) -> None:
        from usearch.index import Index

        self._put(Index.restore(path), vectors, path)

    def opened(self, path: Path, units: int, effort: int) -> Search:
        from usearch.index import Index

        index: Any = Index.restore(path, view=True)
        index.expansion_search = effort
        return lambda query: index.search(query, K).keys.astype(np.int64)

    @staticmethod
    def _put(index: Any, vectors: NDArray[np.float32], path: Path) -> None:
        index.add(np.arange(len(index), len(index) + len(vectors), dtype=np.uint64), vectors, threads=THREADS)
        index.save(path)


class Hnswlib:
    """The same graph, by its authors; it is read into memory."""

    def write(self, vectors: NDArray[np.float32], path: Path) -> Any:
        import hnswlib

        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), ef_construction=CARE, M=LINKS)
        self._put(index, vectors, path)
        return index

    def add(self, vectors: NDArray[np.float32], path: Path) -> None:
        import hnswlib

        index = hnswlib.Index("ip", vectors.shape[1])
        index.load_index(str(path))
        index.resize_index(index.element_count + len(vectors))
        self._put(index, vectors, path)

    def opened(self, path: Path, units: int, effort: int) -> Search:
        import hnswlib

        index = hnswlib.Index("ip", units)
        index.load_index(str(path))
        index.set_ef(effort)
        return lambda query: index.knn_query(query, K, num_threads=1)[0][0].astype(np.int64)

    @staticmethod
    def _put(index: Any, vectors: NDArray[np.float32], path: Path) -> None:
        index.add_items(vectors, num_threads=threads())
        index.save_index(str(path))


# By name, with the module that each is imported from.
ENGINES: dict[str, tuple[str, Engine]] = {
    "faiss_lists": ("faiss", FaissLists()),
    "faiss_graph": ("faiss", FaissGraph()),
    "usearch": ("usearch", Usearch()),
    "hnswlib": ("hnswlib", Hnswlib()),
}


def threads() -> int:
    """The number of threads of the other libraries, by OMP_NUM_THREADS."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def measure_search(config: DictConfig, folder: Path) -> list[Figure]:
    """The libraries of ``size.engines``, and exact search, on collections of ``size.search`` songs.

    For each: wall-clock and processor seconds to build its index, and seconds to add one song in a hundred; the file's
    size; the memory that the index takes while it is built; and a query's milliseconds at the least effort that reaches
    the recall ``WANTED``, or else at the most.
    """
    for name in config.size.engines:
        require_choice("size.engines", name, ENGINES)
    figures = []
    for songs in config.size.search:
        vectors = clustered_vectors(songs + round(ADDED * songs) + QUERIES)
        vectors, queries = vectors[:-QUERIES], vectors[-QUERIES:]
        truth, ms = _answered(partial(_nearest, vectors[:songs]), queries)
        figures.append(Figure(f"exact_{songs}_ms", ms))
        for name in config.size.engines:
            module, engine = ENGINES[name]
            if find_spec(module):
                log.warning("measuring %s on %s", name, counted(songs, "song"))
                measured = _measured(engine, vectors, songs, queries, truth, folder / f"{name}-{songs}")
                figures += [Figure(f"{name}_{songs}_{what}", values) for what, values in measured.items()]
    return figures


def _measured(
    engine: Engine,
    vectors: NDArray[np.float32],
    songs: int,
    queries: NDArray[np.float32],
    truth: list[NDArray[np.int64]],
    path: Path,
) -> dict[str, tuple[float, ...]]:
    """The figures of one library, by name."""
    before, start, worked = memory_mb() or math.nan, time.perf_counter(), time.process_time()
    index = engine.write(vectors[:songs], path)
    build_s, build_cpu_s = time.perf_counter() - start, time.process_time() - worked
    memory = (memory_mb() or math.nan) - before
    del index
    for effort in EFFORTS:
        found, ms = _answered(engine.opened(path, vectors.shape[1], effort), queries)
        recall = np.mean([np.isin(one, other).mean() for one, other in zip(truth, found, strict=True)])
        if recall >= WANTED:
            break
    size = path.stat().st_size / 1e6
    add_s = seconds_of(lambda: engine.add(vectors[songs:], path))
    path.unlink()
    figures = {"build_s": build_s, "build_cpu_s": build_cpu_s, "build_mb": memory, "file_mb": size, "add_s": add_s}
    return {name: (value,) for name, value in figures.items()} | {"recall": (recall,), "effort": (effort,), "ms": ms}


def _answered(search: Search, queries: NDArray[np.float32]) -> tuple[list[NDArray[np.int64]], tuple[float, ...]]:
    """The results of queries asked one at a time, and the milliseconds of each."""
    found, ms = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        ms.append(1000 * (time.perf_counter() - start))
    return found, tuple(ms)


def _nearest(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.int64]:
    similarity = vectors @ query
    return np.argpartition(-similarity, K)[:K].copy()  # a view would keep the indices of all
