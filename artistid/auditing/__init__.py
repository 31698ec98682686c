"""An audit of a collection: songs held out in turn, what speaks against their artists, and a table to correct."""
