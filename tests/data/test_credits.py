"""Whose songs they are: libraries as people have them, each a folder of tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from artistid.data.credits import candidates, credits_of, joint_names, main_artist
from artistid.data.tags import Tags

ALICE, BOB, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
VARIOUS_ARTISTS = "89ad4ac3-39f7-470e-963a-56509c546377"


def library(*albums: tuple[str, list[str]], **fields: object) -> dict[Path, Tags]:
    """The files of albums, each a folder of its title, by the artists of their tracks."""
    return {
        Path(f"{folder}/{number:02}.mp3"): Tags(artist, album=folder, title=f"{number}", **fields)  # type: ignore[arg-type]
        for folder, artists in albums
        for number, artist in enumerate(artists, start=1)
    }


def flat(title: str, artists: list[str], numbers: list[int] | None = None, **fields: object) -> dict[Path, Tags]:
    """The files of one folder, all of one album's title."""
    return {
        Path(f"flat/{place:02}.mp3"): Tags(
            artist,
            album=title,
            number="" if numbers is None else str(numbers[place]),
            **fields,  # type: ignore[arg-type]
        )
        for place, artist in enumerate(artists)
    }


def who(tags: dict[Path, Tags]) -> list[str]:
    """Each file's artist, in their order; of compilations none."""
    credits = credits_of(tags)
    return ["" if path in credits.compilations else credits.artists[path] for path in tags]


# --- guests ---

GUESTS = [
    *("Alice & Bob", "Alice x Bob", "Alice X Bob", "Alice × Bob", "Alice with Bob", "Alice (with Bob)", "Alice, Bob"),
    *("Alice vs. Bob", "Alice vs Bob", "Alice feat. Bob", "Alice ft Bob", "Alice (featuring Bob)", "Alice and Bob"),
    *("Alice + Bob", "Alice; Bob", "Alice/Bob", "Alice、Bob", "Alice w/ Bob", "Alice, Bob & Carl", "Alice meets Bob"),
    *("Bob & Alice", "Bob feat. X & Alice"),
]


@pytest.mark.parametrize("guest", GUESTS[:-1])
def test_an_album_with_guests_on_half_its_tracks_is_the_artists_own(guest: str) -> None:
    assert who(library(("One", ["Alice"] * 3 + [guest] * 3))) == ["Alice"] * 6


def test_guests_on_every_track_are_guests_if_they_are_others() -> None:
    assert who(library(("One", ["Alice & Bob", "Alice & Carl", "Alice with Dora", "Alice x Emil"]))) == ["Alice"] * 4


BANDS = [
    *(
        "Simon & Garfunkel",
        "Earth, Wind & Fire",
        "Tyler, the Creator",
        "AC/DC",
        "Me with You",
        "Malcolm x Y",
        "hey; ho",
    ),
    *("Crosby, Stills, Nash & Young", "Florence + the Machine", "Nick Cave and the Bad Seeds", "Yusuf / Cat Stevens"),
]


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("guest", ["", " & Bob", " feat. Bob", " with Bob", ", Bob"])
def test_a_name_that_holds_such_words_is_one_name(band: str, guest: str) -> None:
    beginning = joint_names(band)[-1]
    tags = library(("One", [band] * 4 + [band + guest] * 3), ("Two", [beginning] * 3), ("Three", ["Bob"]))
    assert who(tags) == [band] * 7 + [beginning] * 3 + ["Bob"]


@pytest.mark.parametrize("album", ["", "A Single"])
@pytest.mark.parametrize(
    ("credit", "others", "artist"),
    [
        ("Alice & Bob", ["Alice", "Bob"], "Alice"),
        ("Alice, Bob", ["Alice", "Bob"], "Alice"),
        ("Alice/Bob", ["Alice", "Bob"], "Alice"),
        ("Alice & Bob", ["Bob"], "Alice & Bob"),
        ("Alice & Bob", [], "Alice & Bob"),
        ("Alice & Bob", ["Alice"], "Alice"),
        ("Alice, Bob", ["Alice"], "Alice"),
        ("Alice, Bob & Carl", ["Alice"], "Alice, Bob & Carl"),
        ("Alice, Bob & Carl", ["Alice", "Carl"], "Alice"),
        ("Tyler, the Creator", ["Tyler"], "Tyler, the Creator"),
        ("Alice with Bob", ["Alice"], "Alice"),
        ("Alice x Bob", ["Alice"], "Alice"),
        ("Alice vs. Bob", ["Alice"], "Alice"),
        ("Alice; Bob", ["Alice"], "Alice"),
        ("Alice / Bob", ["Alice"], "Alice"),
        ("Alice with the Wonders", ["Alice"], "Alice with the Wonders"),
        ("Alice & the Wonders", ["Alice"], "Alice & the Wonders"),
        ("Alice & Bob", ["Alice", "Carl & Bob", "Bob"], "Alice"),
        ("AC/DC", ["AC"], "AC/DC"),
        ("Earth, Wind & Fire", ["Earth"], "Earth, Wind & Fire"),
    ],
)
def test_a_single_song_goes_by_who_else_there_is(album: str, credit: str, others: list[str], artist: str) -> None:
    tags = {Path("single.mp3"): Tags(credit, album=album)} | library(*((f"of {name}", [name] * 3) for name in others))
    assert who(tags)[0] == artist


def test_a_joint_name_with_songs_of_its_own_is_a_name() -> None:
    tags = library(("Songs", ["Simon"] * 5)) | {Path(f"{n}.mp3"): Tags("Simon & Garfunkel") for n in range(3)}
    assert who(tags) == ["Simon"] * 5 + ["Simon & Garfunkel"] * 3
    assert (
        who(library(("Songs", ["Simon"] * 2)) | {Path("x.mp3"): Tags("Simon & Garfunkel")})[-1] == "Simon & Garfunkel"
    )


def test_what_was_decided_is_said(caplog: pytest.LogCaptureFixture) -> None:
    tags = library(("One", ["Alice", "Alice", "Alice & Bob"]), ("Three", ["Dora"] * 3))
    tags[Path("loose.mp3")] = Tags("Dora & the Wonders")
    tags[Path("two.mp3")] = Tags("Alice; Bob", artists=("Alice", "Bob"))
    with caplog.at_level("INFO"):
        credits_of(tags).log_decisions()
    assert 'one of them with guests: 1: "Alice & Bob" → Alice' in caplog.text
    assert 'of whom the album\'s, or else the first, is taken: 1: "Alice; Bob" → Alice' in (caplog.text)
    assert "names that begin with another artist's" in caplog.text
    assert 'data.csv=… changes them): 1: "Dora & the Wonders"' in caplog.text


# --- several artists in one tag ---


def several(*names: str, **fields: object) -> Tags:
    return Tags("; ".join(names), artists=names, **fields)  # type: ignore[arg-type]


def test_several_artists_go_to_the_albums_or_the_first() -> None:
    tags = library(("One", ["Alice"] * 3), ("Two", ["Bob"] * 3))
    tags[Path("One/04.mp3")] = several("Bob", "Alice", album="One")
    tags[Path("One/05.mp3")] = several("Carl", "Dora", album="One")
    tags[Path("One/06.mp3")] = several("Bob", "Carl", album="One", album_artist="Alice")
    tags[Path("loose.mp3")] = several("Bob feat. X", "Alice")
    assert who(tags)[6:] == ["Alice", "Carl", "Alice", "Bob"]


# --- unknown artists ---


@pytest.mark.parametrize(
    "name", ["Unknown Artist", "unknown artist", "<unknown>", "[unknown]", "Unbekannter Interpret"]
)
def test_a_placeholder_names_nobody(name: str) -> None:
    assert main_artist(name) == ""
    assert who(library(("Unknown Album", [name] * 3))) == [""] * 3


# --- compilations ---

FOUR = ["Alice", "Bob", "Carl", "Dora"]


@pytest.mark.parametrize(
    "title", ["Greatest Hits", "Live", "Unknown Album", "The Best Of", "Singles", "Demo", "Unplugged"]
)
@pytest.mark.parametrize("each", [1, 2, 4])
def test_one_title_by_several_artists_in_one_folder_is_an_album_of_each(title: str, each: int) -> None:
    artists = [name for name in FOUR for _ in range(each)]
    assert who(flat(title, artists)) == artists
    assert who(flat(title, artists, [number + 1 for _ in FOUR for number in range(each)])) == artists
    assert who(flat(title, artists, [*range(1, len(artists) + 1)])) == artists


def test_any_title_is_an_album_of_each_if_all_are_numbered_apart_or_have_several_tracks() -> None:
    artists = [name for name in FOUR for _ in range(3)]
    assert who(flat("Home", artists)) == artists
    assert who(flat("Home", artists, [1, 2, 3] * 4)) == artists
    assert who(flat("Home", FOUR, [1, 1, 1, 1])) == FOUR
    assert who(flat("Home", artists, [1, 2, 3, 2, 3, 4, 1, 3, 5, 1, 2, 4])) == artists


@pytest.mark.parametrize(
    ("title", "artists", "numbers"),
    [
        ("Hits of 1999", FOUR, None),
        ("Hits of 1999", [*FOUR, "Alice"], [3, 7, 11, 2, 19]),
        ("Home", FOUR * 2, [2, 1, 4, 3, 6, 5, 8, 7]),
        ("Hits of 1999", [f"Artist {n}" for n in range(20)], [*range(1, 11), *range(1, 11)]),
        ("Hits", ["Alice & Bob", "Carl", "Dora", "Emil", "Alice"], None),
    ],
)
def test_a_compilation_that_is_not_marked(title: str, artists: list[str], numbers: list[int] | None) -> None:
    tags = flat(title, artists, numbers)
    credits = credits_of(tags)
    assert who(tags) == [""] * len(artists)
    assert credits.guessed == set(tags)
    assert all(credits.artists.values()), "each song is still somebody's"
    n_artists = len(set(credits.artists.values()))
    assert set(credits.compilations.values()) == {
        f"{len(artists)} tracks by {n_artists} artists, none of whom has most"
    }


def test_one_release_by_several_is_a_compilation_whatever_its_title() -> None:
    assert who(flat("Greatest Hits", FOUR * 2, album_id=OTHER)) == [""] * 8


def test_two_artists_share_an_album() -> None:
    assert who(flat("Split", ["Alice", "Bob", "Alice", "Bob"])) == ["Alice", "Bob"] * 2


@pytest.mark.parametrize(
    ("title", "artists", "left"),
    [
        ("The Essential Collection", ["Alice"] * 4, ["Alice"] * 4),
        ("Rarities", ["Alice", "Alice & Bob", "Alice feat. Carl"], ["Alice"] * 3),
        ("The Best of Alice", ["Alice"], ["Alice"]),
        ("Alice: 1990–1999", ["Alice"], ["Alice"]),
        ("Hits of 1999", ["Alice"], [""]),
        ("Greatest Hits", FOUR, [""] * 4),
    ],
)
def test_the_mark_of_a_compilation(title: str, artists: list[str], left: list[str]) -> None:
    assert who(flat(title, artists, compilation=True)) == left


def test_an_albums_artist_outweighs_everything() -> None:
    assert who(flat("Hits", FOUR, album_artist="Alice", compilation=True)) == ["Alice"] * 4
    assert who(flat("Hits", FOUR, album_artist="Alice feat. Bob")) == ["Alice"] * 4
    assert who(flat("Hits", FOUR, album_artist="Simon & Garfunkel")) == ["Simon & Garfunkel"] * 4
    assert who(flat("Hits", ["Alice"] * 4, album_artist="Various Artists")) == [""] * 4
    assert who({Path("x.mp3"): Tags("Various Artists", album="Hits")}) == [""]


def test_albums_by_three_artists_that_all_name_an_albums_artist() -> None:
    tags = {Path(f"dir/{name}.mp3"): Tags(name, name, f"Album {name}", number="3") for name in FOUR}
    assert who(tags) == FOUR


# --- MusicBrainz ---


def test_identifiers_tell_artists_apart(caplog: pytest.LogCaptureFixture) -> None:
    tags = library(("Bleach", ["Nirvana"] * 2), artist_ids=(ALICE,)) | library(
        ("All of Us", ["Nirvana"] * 2), artist_ids=(BOB,)
    )
    assert who(tags) == ["Nirvana (aaaaaaaa)"] * 2 + ["Nirvana (bbbbbbbb)"] * 2
    tags |= library(("Untagged", ["Nirvana"]))
    assert who(tags)[-1] == "Nirvana"
    credits_of(tags).log_decisions()
    assert "names shared by several MusicBrainz artists" in caplog.text


def test_identifiers_tell_artists_together(caplog: pytest.LogCaptureFixture) -> None:
    tags = library(("One", ["The Beatles"] * 3 + ["Beatles"]), artist_ids=(ALICE,))
    tags |= {Path(f"{name}.mp3"): Tags("x", name, album_artist_ids=(ALICE,)) for name in ("BEATLES, THE", "ビートルズ")}
    tags |= library(("Two", ["Beatles", "beatles"]))
    assert who(tags) == ["The Beatles"] * 7 + ["beatles"]
    with caplog.at_level("INFO"):
        credits_of(tags).log_decisions()
    assert "The Beatles = BEATLES, THE = Beatles = ビートルズ" in caplog.text


def test_one_identifier_is_one_artist_whatever_the_name() -> None:
    tags = library(("One", ["Simon"] * 3), ("Two", ["Garfunkel"])) | {
        Path("x.mp3"): Tags("Simon & Garfunkel", artist_ids=(OTHER,)),
    }
    assert who(tags)[-1] == "Simon & Garfunkel"


def test_several_identifiers_are_several_artists() -> None:
    tags = library(("One", ["Alice"] * 2), artist_ids=(ALICE,))
    tags[Path("x.mp3")] = several("ALICE", "Bob", artist_ids=(ALICE, BOB))
    tags[Path("y.mp3")] = several("Bob", "Alice", artist_ids=(BOB, ALICE))
    tags[Path("z.mp3")] = Tags("Alicia & Bob", "Alice & Bob", album_artist_ids=(ALICE, BOB))
    assert who(tags) == ["Alice", "Alice", "Alice", "Bob", "Alice & Bob"]


def test_the_identifier_of_various_artists_marks_a_compilation() -> None:
    assert who(flat("Hits", FOUR, album_artist="Divers", album_artist_ids=(VARIOUS_ARTISTS,))) == [""] * 4


def test_candidates_come_likeliest_first() -> None:
    assert candidates(Tags("Alice & Bob, Carl")) == ["Alice & Bob, Carl", "Alice & Bob", "Alice", "Bob", "Carl"]
    assert candidates(Tags("Alice & Bob", artist_ids=(ALICE,))) == ["Alice & Bob"]
    assert candidates(Tags()) == [""]
