from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from artistid.data.catalog import Catalog, Track
from artistid.errors import ArtistidError
from artistid.reporting.document import Picture, Section, write_report
from artistid.reporting.maps import Map, audio_uri, draw_map, make_map, map_page, read_genres, styles
from artistid.reporting.projection import Embedding
from tests.browser import chromium
from tests.verbs import run_verb

GENRES = {"artist1": "rock", "artist2": "rock", "artist3": "pop"}


class Written(NamedTuple):
    """A map and the report that it is in."""

    map: Map
    png: Path
    report: Path

    @property
    def points(self) -> dict[str, Path]:
        return {level: self.png.with_name(f"map_{level}.parquet") for level in ("frame", "song")}


def in_report(drawn: Map, out: Path) -> Written:
    """A report of one map."""
    png = drawn.write(out / "figures")
    picture = Picture(png, "A map", [], map_page(drawn, out / "report.html"))
    return Written(drawn, png, write_report([Section("Maps", [picture])], out))


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return in_report(make_map(run), tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def with_genres(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return in_report(make_map(run, k=3, genres=GENRES), tmp_path_factory.mktemp("genres"))


def some_levels(artists: list[str], n_songs: int = 2) -> dict[str, Embedding]:
    """Placed clips, two of each song, and songs, at random."""
    rows = [
        {"track_id": f"{artist}/{song}", "artist": artist, "title": str(song), "album": "", "clip": clip}
        for artist in artists
        for song in range(n_songs)
        for clip in range(2)
    ]
    points = pd.DataFrame(rows).assign(start_s=0.0, end_s=1.0)
    clips = Embedding(points, np.random.default_rng(0).normal(size=(len(rows), 2)).astype(np.float32))
    return {
        level: Embedding(each.points.assign(x=each.vectors[:, 0], y=each.vectors[:, 1]), each.vectors)
        for level, each in (("frame", clips), ("song", clips.by_song()))
    }


class TestLooks:
    def test_all_differ_and_neighbours_in_colour_and_shape(self) -> None:
        looks = list(styles([str(number) for number in range(56)]).values())
        assert len(set(looks)) == 56
        for one, next_one in pairwise(looks):
            assert one.colour != next_one.colour
            assert one.marker != next_one.marker
            assert one.symbol != next_one.symbol


class TestPicture:
    def test_size(self, files: Written) -> None:
        height, width = matplotlib.image.imread(files.png).shape[:2]
        assert 1800 < width < 2500
        assert 800 < height < 1100

    @pytest.mark.parametrize("n_artists", [2, 20, 60])
    def test_legend_has_room_for_any_number_of_artists(self, tmp_path: Path, n_artists: int) -> None:
        levels = some_levels([f"artist {number} $_{{" for number in range(n_artists)] + ["a long name " * 9])
        scores = {level: {"artist": each.clustering()} for level, each in levels.items()}
        draw_map(levels, scores, tmp_path / "map.png")
        image = matplotlib.image.imread(tmp_path / "map.png")[..., :3]
        assert image.shape[1] < 4200
        assert all((edge == 1).all() for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]))

    def test_each_artist_has_its_colour_in_both_panels(self, files: Written) -> None:
        image = matplotlib.image.imread(files.png)[..., :3]
        left, right = image[:, :1040], image[:, 1080:2100]
        for look in styles(["artist1", "artist2", "artist3"]).values():
            colour = [int(look.colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
            for panel in (left, right):
                assert (np.abs(panel - colour) < 0.02).all(axis=2).sum() > 50


class TestFiles:
    def test_points_and_scores(self, run: Path, files: Written) -> None:
        clips, songs = (pd.read_parquet(files.points[level]) for level in ("frame", "song"))
        assert (len(clips), len(songs)) == (18, 6)
        assert set(files.map.scores["frame"]) == set(files.map.scores["song"]) == {"artist"}
        assert (files.map.scores["frame"]["artist"].n, files.map.scores["song"]["artist"].n) == (18, 6)
        vectors, artist = np.stack(songs["vector"]), songs["artist"].to_numpy()
        distance = ((vectors[:, None] - vectors) ** 2).sum(axis=2)
        np.fill_diagonal(distance, np.inf)
        nearest = distance.argsort(axis=1)[:, :5]
        assert files.map.scores["song"]["artist"].purity == pytest.approx((artist[nearest] == artist[:, None]).mean())

    def test_albums_are_read_of_what_was_not_trained_on(self, run: Path, files: Written, tmp_path: Path) -> None:
        """Of each artist one album of two songs validates, and one tests."""
        assert files.map.albums is not None
        assert files.map.albums.artists == 3
        assert -1 <= files.map.albums.score <= 1
        run_verb("report", f"runs={run.parent}", f"out={tmp_path / 'report'}", "draws=10", "workers=0")
        [path] = (tmp_path / "report" / "tables").glob("albums-*.csv")
        assert pd.read_csv(path)["album"].tolist() == pytest.approx([files.map.albums.score])
        assert len(list((tmp_path / "report" / "figures").glob("*/albums.png"))) == 1

    def test_same_seed_same_map(self, run: Path, files: Written, tmp_path: Path) -> None:
        again = in_report(make_map(run), tmp_path)
        for level in ("frame", "song"):
            pd.testing.assert_frame_equal(pd.read_parquet(again.points[level]), pd.read_parquet(files.points[level]))


class TestGenres:
    def test_they_are_scored_and_offered(self, files: Written, with_genres: Written) -> None:
        assert set(with_genres.map.scores["frame"]) == {"artist", "genre"}
        assert with_genres.map.scores["song"]["genre"].chance == pytest.approx((4 * 3 / 5 + 2 * 1 / 5) / 6)
        assert "Colour by" in with_genres.report.read_text(encoding="utf-8")
        assert "Colour by" not in files.report.read_text(encoding="utf-8")
        songs = pd.read_parquet(with_genres.points["song"])
        assert dict(zip(songs["artist"], songs["genre"], strict=True)) == GENRES

    def test_a_tracks_own_counts_before_its_artists(self, run: Path) -> None:
        tested = pd.read_csv(run / "split.csv").query("subset == 'test'")["track_id"].iloc[0]
        songs = make_map(run, genres=GENRES | {tested: "ska"}).levels["song"].points
        assert (songs["genre"] == "ska").tolist() == (songs["track_id"] == tested).tolist()

    def test_songs_without_one_are_refused(self, run: Path) -> None:
        with pytest.raises(ArtistidError, match=r"genres: none.* 2 of 6 test songs, by artist3$"):
            make_map(run, genres={"artist1": "rock", "artist2": "rock"})

    def test_from_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "genres.csv"
        path.write_text("artist,genre\nBjörk,pop\nBlur,rock\nBjörk,pop\n", encoding="utf-8")
        assert read_genres(path) == {"Björk": "pop", "Blur": "rock"}
        path.write_text("track_id,artist,genre\na/1/x,a,pop\na/1/y,a,rock\n", encoding="utf-8")
        assert read_genres(path) == {"a/1/x": "pop", "a/1/y": "rock"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("artist\na\n", "lacks the columns genre"),
            ("name,genre\na,rock\n", "a track_id or an artist, in every row"),
            ("artist,genre\na,\n", "expected a genre"),
            ("artist,genre\na,rock\na,pop\n", "'a' has two genres, 'rock' and 'pop'"),
        ],
    )
    def test_csv_that_holds_none(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "genres.csv"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ArtistidError, match=message) as error:
            read_genres(path)
        assert str(path) in str(error.value)


class TestAudio:
    @pytest.mark.parametrize("name", ["a #1? 100%.mp3", "Sigur Rós: é.ogg", os.fsdecode(b"caf\xe9.wav")])
    def test_address_relative_to_the_page(self, tmp_path: Path, name: str) -> None:
        audio = tmp_path / "my music" / name
        audio.parent.mkdir()
        audio.touch()
        uri = audio_uri(audio, tmp_path / "runs" / "map" / "map.html")
        assert uri is not None
        assert uri.startswith("../../my%20music/")
        assert unquote(uri, errors="surrogateescape") == f"../../my music/{name}"
        assert not set("#?: ") & set(uri)

    def test_no_file(self, tmp_path: Path) -> None:
        assert audio_uri(tmp_path / "gone.mp3", tmp_path / "map.html") is None


class TestPage:
    def test_nothing_is_fetched(self, with_genres: Written) -> None:
        page = map_page(with_genres.map, with_genres.report)
        assert len(page) < 100_000, "the library is the report's"
        assert "@import" not in page
        assert "url(" not in page
        assert "://" not in page
        assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


class Opened:
    """A map unfolded in its report in a browser, and what it complained of and asked for."""

    def __init__(self, browser: Any, report: Path, width: int = 1280) -> None:
        self.around = browser.new_page(viewport={"width": width, "height": 1400})
        self.around.set_default_timeout(120_000)  # ms: a busy machine without a graphics card takes its time
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.around.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.around.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.around.on("request", lambda request: self.requests.append(request.url))
        self.around.goto(report.as_uri())
        self.around.locator("details summary").first.click()
        self.frame = self.around.locator("iframe").element_handle()
        self.page = self.frame.content_frame()
        self.page.wait_for_selector("#map[data-ready]", timeout=120_000)
        self.frame.scroll_into_view_if_needed()

    def move(self, x: float, y: float) -> None:
        """Moves the mouse to a place in the frame."""
        box = self.frame.bounding_box()
        self.around.mouse.move(box["x"] + x, box["y"] + y)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        self.around.mouse.down()
        self.around.mouse.up()

    def places(self) -> list[Any]:
        return self.page.evaluate(
            "[...document.querySelectorAll('.scatterlayer .point')].map(each => each.getBoundingClientRect().toJSON())"
        )

    def shown(self) -> dict[str, str]:
        """Names in the legend, and whether their points are to be seen."""
        return dict(
            self.page.evaluate(
                "plot.data.filter(each => each.visible).map(each => [each.name, `${each.visible} ${each.meta.level}`])"
            )
        )

    def lonely_point(self) -> tuple[float, float, list[Any]]:
        """Where on the screen the point is that is farthest from all others, and its data."""
        found = self.page.evaluate(
            """() => {
                const {xaxis, yaxis} = plot._fullLayout;
                const corner = plot.querySelector(".nsewdrag").getBoundingClientRect();
                return plot._fullData.filter(trace => trace.visible === true).flatMap(trace =>
                    Array.from(trace.x, (x, at) => [
                        corner.x + xaxis.d2p(x), corner.y + yaxis.d2p(trace.y[at]), trace.customdata[at]]));
            }"""
        )
        places = np.array([[x, y] for x, y, _ in found])
        distance = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
        np.fill_diagonal(distance, np.inf)
        x, y, data = found[distance.min(axis=1).argmax()]
        return x, y, data


@pytest.mark.slow
class TestInBrowser:
    @pytest.fixture
    def opened(self, browser: Any, with_genres: Written) -> Iterator[Opened]:
        opened = Opened(browser, with_genres.report)
        yield opened
        opened.around.close()

    def test_loads_by_itself(self, opened: Opened, with_genres: Written) -> None:
        assert opened.complaints == []
        assert [uri for uri in opened.requests if not uri.startswith(("data:", "about:"))] == [
            with_genres.report.as_uri()
        ]
        assert opened.shown() == {f"artist{number}": "true frame" for number in (1, 2, 3)}
        assert opened.page.locator(".scatterlayer .point").count() == 18
        assert opened.page.locator("#scores").text_content() == f"n = 18: {with_genres.map.scores['frame']['artist']}"
        assert "split=album clip=1s model=crnn variant=optimizer.lr=0.001-" in opened.page.title()
        tools = opened.page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(each => each.dataset.title)")
        assert "Reset axes" in tools
        assert not [tool for tool in tools if "Share" in tool or "Chart Studio" in tool or "Select" in tool]

    def test_points_stay_where_they_were_first_seen(self, opened: Opened) -> None:
        first = opened.places()
        opened.around.wait_for_timeout(1000)  # ms: plotly.js waits before it acts on a new size
        assert opened.places() == first
        opened.page.locator("summary").click()
        opened.page.wait_for_function(
            "before => document.querySelector('.scatterlayer .point').getBoundingClientRect().y < before",
            arg=first[0]["y"],
        )

    def test_hovering_names_the_point(self, opened: Opened) -> None:
        x, y, (artist, title, album, time, *_) = opened.lonely_point()
        opened.move(x, y)
        text = opened.page.locator(".hoverlayer .hovertext").text_content()
        for word in (artist, title, album, time):
            assert word in text

    def test_legend_hides_and_the_switch_keeps_it(self, opened: Opened, with_genres: Written) -> None:
        opened.page.locator(".legendtoggle").first.click()
        opened.page.wait_for_function("plot.data[0].visible === 'legendonly'")
        assert opened.page.locator(".scatterlayer .point").count() == 12
        opened.page.get_by_label("songs").check()
        opened.page.wait_for_function("document.querySelectorAll('.scatterlayer .point').length === 4")
        assert opened.shown() == {"artist1": "legendonly song", "artist2": "true song", "artist3": "true song"}
        assert opened.page.locator("#scores").text_content() == f"n = 6: {with_genres.map.scores['song']['artist']}"
        assert opened.complaints == []

    def test_colour_by_genre(self, opened: Opened, with_genres: Written) -> None:
        opened.page.get_by_label("genre").check()
        opened.page.wait_for_function("document.querySelector('#scores').textContent.includes('3-NN')")
        assert opened.shown() == {"pop": "true frame", "rock": "true frame"}
        assert opened.page.locator("#scores").text_content() == f"n = 18: {with_genres.map.scores['frame']['genre']}"

    def test_a_click_plays_that_clip(self, opened: Opened, run: Path) -> None:
        x, y, (artist, title, _, time, track_id, start, end) = opened.lonely_point()
        opened.click(x, y)
        opened.page.wait_for_function("audio.readyState >= 2 && audio.currentTime > 0 || audio.error")
        source, position, error = opened.page.evaluate("[audio.currentSrc, audio.currentTime, audio.error?.message]")
        assert error is None
        [track] = (each for each in Catalog.from_csv(run / "catalog.csv") if each.track_id == track_id)
        assert source == f"{track.path.as_uri()}#t={start:g},{end:g}"
        assert start - 0.05 <= position <= end + 0.3
        assert opened.page.locator("#playing").text_content() == f"{artist}: {title}, {time}"
        opened.page.wait_for_function("audio.paused")
        assert opened.page.evaluate("audio.currentTime") == pytest.approx(end, abs=0.3)

    def test_a_page_moved_away_from_its_music_says_so(self, browser: Any, with_genres: Written, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        shutil.copy(with_genres.report, tmp_path / "elsewhere")
        opened = Opened(browser, tmp_path / "elsewhere" / with_genres.report.name)
        x, y, (artist, *_) = opened.lonely_point()
        opened.click(x, y)
        opened.page.wait_for_function("playing.textContent.includes('cannot be played: this browser cannot find')")
        assert artist in opened.page.locator("#playing").text_content()
        opened.around.close()

    def test_names_of_any_letters_and_audio_that_is_gone(self, browser: Any, tmp_path: Path) -> None:
        names = ["</script><b>& $x$", "Sigur Rós & 音"]
        levels = some_levels(names)
        scores = {level: {"artist": each.clustering()} for level, each in levels.items()}
        tracks = [Track(each, each[:-2], "", "", Path("/nowhere")) for each in levels["song"].points["track_id"]]
        opened = Opened(browser, in_report(Map(levels, scores, Catalog(tracks), "a < b </title>"), tmp_path).report)
        assert opened.page.title() == "Map: a < b </title>"
        assert opened.page.locator(".legendtext").all_text_contents() == names
        x, y, (_, title, _, time, track_id, *_) = opened.lonely_point()
        opened.move(x, y)
        opened.page.locator(".hoverlayer .hovertext").wait_for()
        assert track_id[:-2] in opened.page.locator(".hoverlayer .hovertext").text_content()
        opened.click(x, y)
        opened.page.wait_for_function("playing.textContent.includes('did not exist when this page was written')")
        assert opened.page.locator("#playing").text_content().startswith(f"{track_id[:-2]}: {title}, {time} cannot")
        assert opened.complaints == []
        opened.around.close()

    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("n_artists", [3, 20])
    def test_the_legend_has_room_for_names(self, browser: Any, tmp_path: Path, width: int, n_artists: int) -> None:
        names = [f"{number} and the Long-named Orchestra" for number in range(n_artists)]
        levels = some_levels(names)
        scores = {level: {"artist": each.clustering()} for level, each in levels.items()}
        tracks = [Track(each, each[:-2], "", "", Path("/nowhere")) for each in levels["song"].points["track_id"]]
        opened = Opened(browser, in_report(Map(levels, scores, Catalog(tracks), "title"), tmp_path).report, width)
        assert opened.page.locator(".legendtext").all_text_contents() == sorted(names)
        cut = opened.page.evaluate(
            """() => {
                const legend = document.querySelector(".legend .bg").getBoundingClientRect();
                const edge = Math.min(legend.right, document.getElementById("map").getBoundingClientRect().right) + 1;
                return [...document.querySelectorAll(".legendtext")].filter(text =>
                    text.getBoundingClientRect().width < 100 || text.getBoundingClientRect().right > edge).length;
            }"""
        )
        assert cut == 0
        assert opened.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        opened.around.close()
