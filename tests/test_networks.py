"""Every network beside the CRNN goes all the way, and the table of networks is what the command says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import artistid
from artistid.learning.specification import load_network
from artistid.networks import size_of
from tests.test_composition import composed
from tests.verbs import read_scores, run_verb, train

DOCS = Path(__file__).parents[1] / "docs" / "networks.md"
# Small ones of each; of song networks several clips in a passage.
NETWORKS = {
    "crnn_wide": (),
    "crnn_late": (),
    "crnn_non_local": (),
    "short_chunk": ("model.network.channels=8",),
    "ecapa": ("model.network.channels=16", "model.network.joined_channels=32"),
    "song_mean": ("clip=3s", "model.network.clip_frames=32"),
    "song_transformer": ("clip=3s", "model.network.clip_frames=32"),
}
EXPORTED = (
    "crnn_late",
    "crnn_non_local",
    "short_chunk",
    "ecapa",
    "song_transformer",
)  # song_mean is one without layers


def test_the_table_in_the_docs_is_the_commands(tmp_path: Path) -> None:
    page = tmp_path / "networks.md"
    before, _, after = DOCS.read_text(encoding="utf-8").partition("<!-- networks -->")
    page.write_text(f"{before}<!-- networks -->\n{after[after.index('<!-- /networks -->') :]}", encoding="utf-8")
    run_verb("networks", f"out={page}")
    assert page.read_text(encoding="utf-8") == DOCS.read_text(encoding="utf-8")
    assert all(f"| {name} |" in page.read_text(encoding="utf-8") for name in ("crnn", *NETWORKS))


def test_operations_are_those_of_the_papers_network() -> None:
    size = size_of("crnn", composed("model=crnn"), n_artists=7)
    assert size.parameters == 393_364 - 13 * 33
    # Of each block: 9 products for each pair of channels in each place, two operations each.
    convolutions = sum(
        2 * 9 * n_in * n_out * mel * time
        for n_in, n_out, mel, time in ((1, 64, 128, 94), (64, 128, 64, 47), (128, 128, 16, 23), (128, 128, 4, 11))
    )
    gru = 2 * 5 * 96 * (128 + 32 + 32 + 32)
    assert size.mflop == pytest.approx((convolutions + gru + 2 * 32 * 7) / 1e6)
    assert size.mflop_per_second == pytest.approx(size.mflop / (94 * 0.032))


def test_a_file_without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("networks", f"out={tmp_path / 'none.md'}")
    assert "out=" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("model", NETWORKS)
def test_it_goes_all_the_way(model: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = train(corpus, tmp_path / "run", "clip=1s", f"model={model}", *NETWORKS[model])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    quiet = ("workers=0", "trainer.enable_progress_bar=false", "figures=false")
    run_verb("evaluate", f"checkpoint={checkpoint}", f"run_dir={tmp_path / 'again'}", *quiet)
    assert read_scores(tmp_path / "again")["test"] == scores["test"]
    song = next(corpus.rglob("*.mp3"))
    capsys.readouterr()
    run_verb("predict", f"checkpoint={checkpoint}", f"audio={song}", "format=json")
    [answer] = json.loads(capsys.readouterr().out)
    assert sum(each["probability"] for each in answer["top"]) == pytest.approx(1, abs=1e-4)
    run_verb("embed", f"checkpoint={checkpoint}", f"audio={corpus}", f"out={tmp_path / 'music.parquet'}", "workers=0")
    vectors = np.stack(pd.read_parquet(tmp_path / "music.parquet")["embedding"].to_list())
    assert vectors.shape[0] == 18
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    if model in EXPORTED:
        run_verb("export", f"checkpoint={checkpoint}", f"out={tmp_path / 'model.onnx'}")
    artistid.load(checkpoint).save_pretrained(tmp_path / "folder")
    for there, here in zip(
        load_network(tmp_path / "folder")[1].parameters(), load_network(checkpoint)[1].parameters(), strict=True
    ):
        assert torch.equal(there, here)
