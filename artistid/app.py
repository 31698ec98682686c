"""A page in the browser that names the artist of a song: ``python -m artistid.app checkpoint=PATH``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("app", kept="the page is closed, and nothing of its visitors is kept")
def main(config: DictConfig) -> None:
    from artistid.web.serving import serve  # here, so that --help need not wait for torch

    serve(config)


if __name__ == "__main__":
    main()
