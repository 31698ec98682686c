"""Published networks, encoders and vocal separators: their architectures, and where their weights are found."""
