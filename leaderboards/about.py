"""What boards say of themselves: words, citation, and how many rows they have."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata, version

import pandas as pd

from leaderboards.whose import SUITES, YOURS

PACKAGE = "l2-robustness-suite"
WHAT_CERTIFIED_MEANS = (
    "A classifier is certified at an image with radius R if its answer is guaranteed to stay the same for every image "
    "within ℓ2 distance R (pixels in [0,1]). Certified accuracy at radius r is the share of test images that are "
    "classified correctly with R ≥ r: a guarantee, where the accuracy under an attack is only an upper bound."
)
GLOSSARY = {
    "r": "is the radius at which a column's share is certified: the columns that are numbers.",
    "σ": "is the standard deviation of the noise that a vote is taken under.",
    "n": "is how many noisy copies are drawn for a certificate, and α the probability that it is wrong.",
    "ACR": "is the average certified radius: the mean of R over all images, 0 where the answer is wrong. It rewards "
    "large radii on easy images, so compare the columns, too.",
    "p_A": "is the mean of the lower bound on the probability of the vote's answer, 0 where that is wrong. It compares "
    "at the same σ; a margin has none.",
    "abst.": "is the share of images that the row abstains on.",
    "holds": "says whether the certificates are of what the row deploys. A certificate of a vote is not one of the "
    "single pass of the same network; broken counts how many an attack inside of their radii broke.",
    "\\#": "is the range of ranks that a row may have in its table, at 95 % for all rows at once.",
}
PAPER = (
    "Ryan Campbell, Chris Finlay and Adam M. Oberman. Adversarial Boot Camp: label free certified robustness in "
    "one epoch. 2020. arXiv 2010.02508"
)
BIBTEX = """@software{l2_robustness_suite,
  title = {ℓ2 robustness suite: a suite and leaderboard for certifiably ℓ2-robust image classifiers},
  author = {{The l2-robustness-suite developers}},
}
@article{campbell2020adversarial,
  title = {Adversarial Boot Camp: label free certified robustness in one epoch},
  author = {Campbell, Ryan and Finlay, Chris and Oberman, Adam M.},
  journal = {arXiv preprint arXiv:2010.02508},
  year = {2020},
}"""


def installed() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "not installed"


def code_address() -> str:
    """Where the package says that its code is."""
    try:
        urls = metadata(PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    places = [url.partition(", ")[2] for url in urls]
    return (
        places[0] if places else f"{PACKAGE} {installed()}, MIT licence; this copy does not say where it is published."
    )


def counts(frame: pd.DataFrame) -> str:
    """How many rows there are, whose, and the newest."""
    if frame.empty:
        return "No rows yet."
    whose = frame["whose"]
    yours, suites = int((whose == YOURS).sum()), int((whose == SUITES).sum())
    others = len(frame) - yours - suites
    newest = max((date for date in frame["date"] if date), default="not known")
    said = f"{len(frame)} rows: {yours} yours, {suites} that come with the suite, {others} of papers; newest {newest}"
    return f"{said}; suite {installed()}."
