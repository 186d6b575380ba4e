""" "Adversarial Boot Camp": its items, its statements, and the report on them."""
