"""The pages, a script each."""
