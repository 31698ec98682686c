"""Progress bars of training and testing in a terminal."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar

from artistid.terminal import shows_bars

PARTS = {"train": "training part", "val": "validation part", "test": "test part", "all": "all songs"}


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, counting epochs from 1 and naming the tested subset; log lines are not broken.

    Args:
        subset: the tested subset.
    """

    def __init__(self, subset: str = "test") -> None:
        super().__init__(console_kwargs={"soft_wrap": True})
        self.subset = subset

    @property
    def test_description(self) -> str:
        return PARTS[self.subset]

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs or -1
        of_all = f"/{epochs}" if epochs > 0 else ""
        return f"Epoch {current_epoch + 1}{of_all}".ljust(len(self.validation_description))


def bars(wanted: bool, subset: str = "test") -> list[ProgressBar]:
    """The progress bar callback, if it is wanted and there is a terminal.

    Args:
        wanted: ``trainer.enable_progress_bar``.
        subset: the tested subset.
    """
    return [ProgressBar(subset)] if wanted and shows_bars() else []
