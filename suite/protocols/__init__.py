"""The protocols: one file each, from a classifier and images to one record per image."""
