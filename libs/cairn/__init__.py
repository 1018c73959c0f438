"""Cairn: the life of machine-learning models, told as events."""
