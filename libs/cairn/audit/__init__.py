"""The pure heart of the audit log: leaves, the tree above them, and signed checkpoints of it."""
