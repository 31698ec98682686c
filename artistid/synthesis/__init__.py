"""A synthetic discography: invented artists, their songs and the producers of their albums, all drawn from seeds.

Three layers, one module each, and what binds them: ``style`` is what an artist's songs have in common and how it is
drawn, ``composing`` writes a song in it, ``instruments`` plays and mixes the song, ``production`` is the sound of an
album, and ``discography`` lays artists, albums and songs out as files.
"""

# Hz, mono: the format of artist20's files.
SAMPLE_RATE = 16_000
