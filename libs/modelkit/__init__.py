"""What a model is to Cairn: datasets, package format, metrics, profiles; and what child processes run."""
