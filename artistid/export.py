"""A checkpoint for ONNX Runtime: ``python -m artistid.export checkpoint=runs/…/best.ckpt to=model.onnx``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("export", kept="nothing is written")
def main(config: DictConfig) -> None:
    from artistid.inference.export import export  # here, so that --help need not wait for torch

    export(config)


if __name__ == "__main__":
    main()
