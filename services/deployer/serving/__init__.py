"""The data plane: processes that answer by the deployer's routes. They know nothing of its store."""
