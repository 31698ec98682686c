"""How answers are shown: who made a song, what sounds like it, which parts are alike, how well songs are retrieved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.text import Text

from artistid.errors import abbreviate, counted
from artistid.inference.identification import Candidate, columns
from artistid.printing import printable
from artistid.records import Layout, clock, table_of
from artistid.terminal import Console

if TYPE_CHECKING:  # each verb imports only what it shows
    from artistid.inference.identification import Identification
    from artistid.inference.matching import Matches
    from artistid.inference.neighbours import Similar
    from artistid.inference.retrieval_scores import RetrievalScores
    from artistid.inference.roster import Recognition, Stretch, Verdict

NOBODY = "none of them"
UNKNOWN = "nobody I know"
TEST_QUERIES = "songs of the test subset, of albums that were not trained on, find their artist"
UNKNOWN_QUERIES = "songs of artists that were not trained on find their artist"


# A CSV file has JSON's names, and a row per item of its list ``top``, as pandas' json_normalize makes from JSON.
OF_SONG = ("name", "duration_s", "artist", "score", "threshold", "vote", "warnings")
OF_CANDIDATE = tuple(field.name for field in fields(Candidate))
CELLS = {"rank": "{}", "share": "{:.0%}", "probability": "{:.3f}"}


def identification_layout(timeline: bool = True) -> Layout:
    """The answer, the likeliest artists, and, with a timeline, which seconds sound like whom; CSV has no timeline."""
    return Layout(
        (*OF_SONG, *(f"top.{name}" for name in OF_CANDIDATE)),
        _identification_rows,
        partial(_show_identification, timeline=timeline),
    )


def _show_identification(console: Console, answer: Identification, timeline: bool) -> None:
    console.print(Text(f"{printable(answer.name)}  {clock(answer.duration_s)}", style="bold"))
    console.print(Text(f"  {verdict(answer)}"))
    _show_warnings(console, answer.warnings)
    shown = columns(answer.vote)
    rows = [
        (candidate.artist, *(CELLS[number].format(getattr(candidate, number)) for number in shown))
        for candidate in answer.top
    ]
    headings = ("artist", *("clips" if number == "share" else number for number in shown))
    console.print(table_of(rows, headings, right=range(1, len(headings))), soft_wrap=False)
    for segment in answer.timeline if timeline else ():
        span = _span(segment.start_s, segment.end_s)
        console.print(Text(f"  {span:>13}  {printable(segment.artist)} {segment.probability:.2f}"))
    console.print()


def _identification_rows(answer: Identification) -> Iterator[Sequence[object]]:
    """A row per song and artist; what JSON has as null is an empty cell."""
    song = answer.plain() | {"warnings": "; ".join(answer.warnings)}
    for candidate in song["top"]:
        yield (*(song[name] for name in OF_SONG), *(candidate[name] for name in OF_CANDIDATE))


def verdict(answer: Identification) -> str:
    """The answer in words."""
    first = answer.top[0]
    if answer.artist is not None:
        return (
            f"{printable(answer.artist)}, named by {first.share:.0%} of its clips, probability {first.probability:.2f}"
        )
    if answer.threshold is None or answer.score >= answer.threshold:
        return NOBODY
    return (
        f"{NOBODY}: most like {printable(first.artist)}, but the score, {answer.score:.3f}, is below the threshold of "
        f"{answer.threshold:.3f}"
    )


OF_RECOGNISED = (
    "name",
    "duration_s",
    "artist",
    "llr",
    "threshold",
    "false_alarms",
    "strangers",
    "enrolled",
    "left_out",
)
OF_KNOWN = ("rank", "artist", "llr", "songs")
OF_VERDICT = (
    *("name", "duration_s", "artist", "accepted", "llr", "threshold", "false_alarms", "strangers", "songs"),
    *("left_out", "warnings"),
)


def recognition_layout(timeline: bool = True) -> Layout:
    """Who made a song, if anyone who is enrolled, and the likeliest artists; CSV has no timeline."""
    return Layout(
        (*OF_RECOGNISED, "warnings", *(f"top.{name}" for name in OF_KNOWN)),
        _recognition_rows,
        partial(_show_recognition, timeline=timeline),
    )


def _show_recognition(console: Console, answer: Recognition, timeline: bool) -> None:
    console.print(Text(f"{printable(answer.name)}  {clock(answer.duration_s)}", style="bold"))
    console.print(Text(f"  {recognised(answer)}"))
    _show_left_out(console, answer)
    _show_warnings(console, answer.warnings)
    rows = [(each.artist, f"{each.llr:+.2f}", str(each.songs)) for each in answer.top]
    console.print(table_of(rows, ("artist", "log-likelihood ratio", "songs"), right=(1, 2)), soft_wrap=False)
    if timeline:
        _show_stretches(console, answer.timeline)
    console.print()


def recognised(answer: Recognition) -> str:
    """The answer in words."""
    among = counted(answer.enrolled, "enrolled artist")
    if answer.artist is None:
        likeliest = printable(answer.top[0].artist)
        return f"{UNKNOWN}, of {among}: most like {likeliest}, but {_compared(answer, accepted=False)}"
    return f"{printable(answer.artist)}, of {among}: {_compared(answer, accepted=True)}"


def _recognition_rows(answer: Recognition) -> Iterator[Sequence[object]]:
    """A row per song and artist; what JSON has as null is an empty cell."""
    song = _flat(answer)
    for each in song["top"]:
        yield (*(song[name] for name in OF_RECOGNISED), song["warnings"], *(each[name] for name in OF_KNOWN))


def verdict_layout(segments: bool = True) -> Layout:
    """Whether a song is by the claimed artist, and what supports or contradicts that; CSV has no segments."""
    return Layout(OF_VERDICT, _verdict_rows, partial(_show_verdict, segments=segments))


def _show_verdict(console: Console, answer: Verdict, segments: bool) -> None:
    console.print(Text(f"{printable(answer.name)}  {clock(answer.duration_s)}", style="bold"))
    console.print(Text(f"  {judged(answer)}"))
    _show_left_out(console, answer)
    _show_warnings(console, answer.warnings)
    if segments:
        _show_stretches(console, answer.segments, claim=True)
    console.print()


def judged(answer: Verdict) -> str:
    """The verdict in words."""
    claim = f"by {printable(answer.artist)}, known by {counted(answer.songs, 'song')}"
    return f"{claim}: {'accepted' if answer.accepted else 'rejected'}, since {_compared(answer, answer.accepted)}"


def _verdict_rows(answer: Verdict) -> Iterator[Sequence[object]]:
    claim = _flat(answer)
    yield tuple(claim[name] for name in OF_VERDICT)


def _flat(answer: Recognition | Verdict) -> dict[str, Any]:
    """As plain types, with each list of texts joined to one."""
    return answer.plain() | {name: "; ".join(getattr(answer, name)) for name in ("left_out", "warnings")}


def _compared(answer: Recognition | Verdict, accepted: bool) -> str:
    """The ratio, its threshold, and the threshold's false alarms."""
    above = "above" if accepted else "not above"
    share = f"{100 * answer.false_alarms:g} %"
    return (
        f"its ratio of {answer.llr:+.2f} is {above} {answer.threshold:+.2f}, which {share} of strangers' songs would "
        "exceed"
    )


def _show_stretches(console: Console, stretches: Sequence[Stretch], claim: bool = False) -> None:
    for each in stretches:
        what = ("for" if each.llr > 0 else "against") if claim else printable(each.artist)
        console.print(Text(f"  {_span(each.start_s, each.end_s):>13}  {what} {each.llr:+.2f}"))


def _show_similar(console: Console, answer: Similar) -> None:
    """The nearest songs, and the nearest artists."""
    _show_query(console, answer)
    songs = [
        (str(song.rank), f"{song.similarity:.3f}", song.artist or "?", song.title or song.track_id, song.album)
        for song in answer.songs
    ]
    console.print(table_of(songs, ("", "similarity", "artist", "song", "album"), right=(0, 1)), soft_wrap=False)
    artists = [
        (str(artist.rank), f"{artist.similarity:.3f}", artist.artist, str(artist.songs)) for artist in answer.artists
    ]
    if artists:
        console.print()
        console.print(table_of(artists, ("", "similarity", "artist", "songs"), right=(0, 1, 3)), soft_wrap=False)
    console.print()


def _similar_rows(answer: Similar) -> Iterator[Sequence[object]]:
    """A row per song, then a row per artist."""
    last = ("; ".join(answer.left_out), "; ".join(answer.album_left_out), "; ".join(answer.warnings))
    for song in answer.songs:
        names = (song.artist, song.album, song.title, song.track_id, song.path)
        yield (answer.query, "song", song.rank, f"{song.similarity:.6f}", *names, "", *last)
    for artist in answer.artists:
        names = (artist.artist, "", "", "", "")
        yield (answer.query, "artist", artist.rank, f"{artist.similarity:.6f}", *names, artist.songs, *last)


def _show_matches(console: Console, answer: Matches) -> None:
    """Which segments of the query sound like which segments of which songs."""
    _show_query(console, answer)
    rows = [
        (
            *(str(match.rank), f"{match.similarity:.3f}", _span(match.start_s, match.end_s)),
            *(_span(match.song_start_s, match.song_end_s), match.artist or "?"),
            *(match.title or match.track_id, match.album),
        )
        for match in answer.matches
    ]
    headings = ("", "similarity", "query", "song at", "artist", "song", "album")
    console.print(table_of(rows, headings, right=range(4)), soft_wrap=False)
    console.print()


def _match_rows(answer: Matches) -> Iterator[Sequence[object]]:
    """A row per match."""
    left_out = ("; ".join(answer.left_out), "; ".join(answer.album_left_out))
    last = (f"{answer.alike:.6f}", *left_out, "; ".join(answer.warnings))
    for match in answer.matches:
        times = (match.start_s, match.end_s, match.song_start_s, match.song_end_s)
        names = (match.artist, match.album, match.title, match.track_id, match.path)
        yield (
            *(answer.query, match.rank, f"{match.similarity:.6f}", *(f"{time:.3f}" for time in times), match.clips),
            *(*names, *last),
        )


def _show_retrieval(console: Console, answer: RetrievalScores) -> None:
    """A row per measure."""
    for kind, scores in answer.kinds.items():
        if scores is None:
            continue
        title = (TEST_QUERIES if kind.startswith("test") else UNKNOWN_QUERIES) + (
            ", where their own album counts" if kind.endswith("same_album") else ""
        )
        rows = [
            (name, f"{score.value:.3f}", f"{score.ci95[0]:.3f}–{score.ci95[1]:.3f}", f"{score.chance:.3f}")
            for name, score in scores.measures.items()
        ]
        console.print(Text(title, style="bold"))
        console.print(
            f"  {counted(scores.n, 'query', 'queries')} by {counted(scores.artists, 'artist')}, among "
            f"{counted(scores.gallery, 'song')}; {counted(scores.without_answer, 'more has', 'more have')} no song by "
            "the artist on another album"
        )
        console.print(table_of(rows, ("", "value", "95 % interval", "chance"), right=(1, 2, 3)), soft_wrap=False)
        console.print()
    if answer.without_artist:
        console.print(f"left out: {counted(answer.without_artist, 'song')} without an artist")


def _retrieval_rows(answer: RetrievalScores) -> Iterator[Sequence[object]]:
    """A row per kind of queries and measure."""
    for kind, scores in answer.kinds.items():
        if scores:
            for name, score in scores.measures.items():
                yield (kind, name, *(f"{value:.6f}" for value in (score.value, *score.ci95, score.chance)), scores.n)


def _show_query(console: Console, answer: Similar | Matches) -> None:
    console.print(Text(printable(answer.query), style="bold"))
    _show_left_out(console, answer)
    if album := answer.album_left_out:
        songs = counted(len(album), "song")
        console.print(Text(f"  left out, as its own album: {songs}; same_album=true compares it with them as well"))
    _show_warnings(console, answer.warnings)


def _show_left_out(console: Console, answer: Similar | Matches | Recognition | Verdict) -> None:
    if answer.left_out:
        console.print(Text(f"  left out, as its own recording: {abbreviate(answer.left_out)}"))


def _show_warnings(console: Console, warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.print(Text(f"  warning: {warning}", style="yellow"))


def _span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)}–{clock(end_s)}"


# By the setting view= of similar.
VIEWS = {
    "songs": Layout(
        (
            *("query", "kind", "rank", "similarity", "artist", "album", "title", "track_id", "path", "songs"),
            *("left_out", "album_left_out", "warnings"),
        ),
        _similar_rows,
        _show_similar,
    ),
    "matches": Layout(
        (
            *("query", "rank", "similarity", "start_s", "end_s", "song_start_s", "song_end_s", "clips"),
            *("artist", "album", "title", "track_id", "path", "alike", "left_out", "album_left_out", "warnings"),
        ),
        _match_rows,
        _show_matches,
    ),
    "retrieval": Layout(
        ("queries", "measure", "value", "low95", "high95", "chance", "n"), _retrieval_rows, _show_retrieval
    ),
}
