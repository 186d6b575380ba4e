"""The networks: their architectures, their weights, and faster copies of them for inference."""
