"""An audit of a collection: songs held out in turn, the evidence against their artists, and a table to correct."""
