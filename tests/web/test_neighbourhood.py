from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from artistid.errors import ArtistidError
from artistid.inference.collection import Collection
from artistid.inference.identifier import Identifier
from artistid.web import neighbourhood
from artistid.web.known import KnownSettings, KnownSongs
from artistid.web.neighbourhood import Neighbourhood
from artistid.web.service import SongService
from tests.verbs import run_verb
from tests.web.conftest import served


@pytest.fixture(scope="module")
def around(collection: Path) -> Neighbourhood:
    return Neighbourhood(Collection.read(collection), 4)


class TestMap:
    def test_a_song_of_the_collection_lies_on_its_point(
        self, around: Neighbourhood, identifier: Identifier, corpus: Path
    ) -> None:
        drawn = around.map()
        assert drawn is not None
        found = around.around(identifier.hear(min(corpus.glob("artist2/album1/*"))))
        assert found is not None
        [copy] = found["copies"]
        points = np.column_stack([drawn["x"], drawn["y"]])
        nearest = int(np.abs(points - found["place"]).sum(axis=1).argmin())
        np.testing.assert_allclose(points[nearest], found["place"], atol=2e-3)
        assert drawn["title"][nearest] == copy["title"]

    def test_its_two_directions_are_those_of_most_difference(self, around: Neighbourhood) -> None:
        vectors = around.collection.vectors.astype(np.float64)
        variance = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
        drawn = around.map()
        assert drawn is not None
        assert drawn["explained"] == pytest.approx(variance[:2].sum() / variance.sum(), abs=1e-3)
        assert np.var(drawn["x"]) >= np.var(drawn["y"]) > 0
        assert drawn["n_songs"] == len(drawn["x"]) == len(drawn["artist"]) == 18

    def test_of_a_large_collection_some_songs_are_drawn(
        self, around: Neighbourhood, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = around.map()
        monkeypatch.setattr(neighbourhood, "MOST_POINTS", 7)
        some = around.map()
        assert whole is not None
        assert some is not None
        assert len(some["x"]) == 7
        assert some["n_songs"] == 18
        assert set(zip(some["x"], some["y"], strict=True)) <= set(zip(whole["x"], whole["y"], strict=True))
        assert around.map() == some

    def test_two_songs_have_none(self, identifier: Identifier, checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
        songs = ",".join(str(path) for path in sorted(corpus.glob("artist1/album1/*")))
        run_verb(
            "embed", f"checkpoint={checkpoint}", f"audio=[{songs}]", f"out={tmp_path / 'two.parquet'}", "device=cpu"
        )
        two = Neighbourhood(Collection.read(tmp_path / "two.parquet"), 4)
        assert two.map() is None
        found = two.around(identifier.hear(min(corpus.glob("artist1/album1/*"))))
        assert found is not None
        assert found["place"] is None
        assert len(found["songs"]) == len(found["copies"]) == 1


class TestNearest:
    def test_own_recording_is_told_and_not_listed(
        self, around: Neighbourhood, identifier: Identifier, corpus: Path
    ) -> None:
        song = min(corpus.glob("artist3/album2/*"))
        found = around.around(identifier.hear(song))
        assert found is not None
        assert len(found["copies"]) == 1
        assert len(found["songs"]) == 4
        similarity = [each["similarity"] for each in found["songs"]]
        assert similarity == sorted(similarity, reverse=True)
        nearest = around.collection.nearest_songs(identifier.embed(song), 5)
        assert similarity == pytest.approx([each.similarity for each in nearest[1:]], abs=1e-6)

    def test_silence_is_near_to_nothing(self, around: Neighbourhood, identifier: Identifier) -> None:
        assert around.around(identifier.hear(np.zeros(32000), 16000)) is None

    def test_where_the_music_lies_is_not_told(
        self, identifier: Identifier, collection: Path, corpus: Path, song: Path
    ) -> None:
        known = KnownSongs(collection, identifier, KnownSettings(n_nearest=4))
        with served(SongService(identifier, 1, 2, known)) as address:
            answer = httpx.post(f"{address}/songs", content=song.read_bytes(), timeout=600)
            assert len(answer.json()["neighbourhood"]["songs"]) == 4
            page, drawn = httpx.get(address), httpx.get(f"{address}/map")
            assert len(drawn.json()["songs"]["x"]) == 18
            assert len(httpx.get(f"{address}/assets/plotly.js").content) > 1_000_000
        for response in (answer, page, drawn):
            assert str(corpus.parent) not in response.text

    def test_a_collection_of_another_network(self, checkpoint: Path, identifier: Identifier, collection: Path) -> None:
        other = Identifier(identifier.specification, identifier.specification.build(), "cpu")
        with pytest.raises(ArtistidError, match="was made by another network"):
            KnownSongs(collection, other, KnownSettings())

    def test_a_page_without_a_collection_has_no_map(self, client: httpx.Client, song: Path) -> None:
        assert client.get("/map").json()["songs"] is None
        assert client.post("/songs", content=song.read_bytes()).json()["neighbourhood"] is None
        assert "Nearest songs" not in client.get("/").text
