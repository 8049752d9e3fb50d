"""The small text-to-image model of the pack's own: its world, its training and its loader."""
