from __future__ import annotations

import torch

from artistid.benchmarking.measuring import Traffic, bandwidth, flops_and_bytes, peak


def test_operations_of_a_product_and_its_bytes() -> None:
    a, b = torch.randn(8, 16), torch.randn(16, 32)
    flops, moved = flops_and_bytes(lambda: a @ b)
    assert flops == 2 * 8 * 16 * 32
    assert moved == 4 * (8 * 16 + 16 * 32 + 8 * 32)


def test_views_move_nothing_and_work_in_place_reads_and_writes() -> None:
    x = torch.zeros(10, 10)
    with Traffic() as traffic:
        x.view(100)[:50].t()
    assert traffic.bytes == 0
    with Traffic() as traffic:
        x.add_(1)
    assert traffic.bytes == 2 * 4 * 100


def test_what_the_device_gives_is_measured() -> None:
    cpu = torch.device("cpu")
    assert peak(torch.float32, cpu) > 1e8
    assert bandwidth(cpu) > 1e8
