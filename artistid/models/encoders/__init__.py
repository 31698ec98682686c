"""Encoders that others have trained, by the names of ``conf/encoder``: their networks, and where their weights lie."""
