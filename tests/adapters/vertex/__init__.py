"""The Vertex AI target, apart from the contract that all targets keep."""
