"""A page that takes a song and answers: a small server, and what the browser runs in ``assets``."""
