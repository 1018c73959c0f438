"""The whole loop on a real dataset, told as it happens."""
