"""A synthetic discography: invented artists, their songs and the producers of their albums, all drawn from seeds.

Three layers, one module each, and what binds them:
``style`` is what an artist's songs have in common, ``composing`` writes a song in it, ``instruments`` and ``rendering``
play the song, ``production`` is the sound of an album, and ``discography`` lays artists, albums and songs out as files.
``traits`` says how everything that is drawn is drawn, and holds the spreads behind the dials.
"""

# Hz, mono: the format of artist20's files.
SAMPLE_RATE = 16_000
