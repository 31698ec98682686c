"""Errors that a user can put right."""


class ArtistidError(Exception):
    """Bad input or setting; the message names it, says what was expected and what was found."""
