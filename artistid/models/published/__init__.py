"""Networks that others have trained, encoders and separators of voices: what they are, and where their weights lie."""
