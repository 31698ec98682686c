"""Inference with a trained network: from any song to an answer. Imports nothing that only training needs."""
