"""Attacks on what a row deploys: searches for a small perturbation that changes the answer."""
