"""A trained network at work: from a song of anyone's to an answer. Imports nothing that only training needs."""
