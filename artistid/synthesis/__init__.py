"""A synthetic discography: invented artists, their songs and the producers of their albums, all drawn from seeds.

``style`` draws what an artist's songs have in common, ``composing`` writes a song in that style, ``instruments`` plays
and mixes it, ``production`` gives it the sound of its album, and ``discography`` writes artists, albums and songs as
files.
"""

# Hz, mono: the format of artist20's files.
SAMPLE_RATE = 16_000
