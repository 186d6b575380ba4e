"""The report's section on attacks inside certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from leaderboards.render.document import Section
from suite.statistics.bounds import upper_confidence_bound
from suite.store.result import Result


def audits(named: Mapping[str, list[Result]]) -> Iterator[Section]:
    """What an attack on each certificate found, and how far a pass is from an average."""
    headings = {"certify": "Certify", "lbound": "L-bound", "probit": "L-bound, probit form"}
    audited = {name: [row for row in own if row.metric("audit.certify.attacked") is not None]
               for name, own in named.items()}  # fmt: skip
    kinds = [kind for kind in headings if any(kind in audit(row) for own in audited.values() for row in own)]
    lines = []
    for name, own in audited.items():
        if not own:
            continue
        line = {"row": name, "deployed as": f"a {own[0].deployed}"}
        for kind in kinds:
            of_kind = [audit(row)[kind] for row in own if kind in audit(row)]
            ratios = [found["smallest_ratio"] for found in of_kind if found["smallest_ratio"] is not None]
            line[f"{headings[kind]}: violated"] = violations(of_kind)
            line[f"{headings[kind]}: nearest, of R"] = f"{min(ratios):.2f}" if ratios else "–"
        for heading, path, scale, form in (
            ("averaging error", "averaging.distance", 1, "{:.3f}"),
            ("top-1 = average's", "averaging.agreement.share", 100, "{:.1f} %"),
        ):
            found = [value for row in named[name] if (value := row.metric(path)) is not None]
            line[heading] = form.format(scale * fmean(found)) if found else "–"
        lines.append(line)
    if lines:
        text = (
            "Each certified image was attacked inside its own radius. The target is what the row deploys: the single "
            "pass, or the vote, where a finding is confirmed on fresh draws. A violated radius does not hold for the "
            "classifier that the row deploys. In brackets: the upper 95 % bound on the rate of violations. Nearest: "
            "the distance of the nearest finding, as a share of the radius. Averaging error: how far one pass is, in "
            "ℓ2 distance of probabilities, from the Gaussian average that it stands for."
        )
        yield Section("Beyond the paper: the certificates, attacked", 2, (text,), pd.DataFrame(lines))


def audit(row: Result) -> Mapping[str, Any]:
    """What the audit of a run found, by kind of radius."""
    found: Mapping[str, Any] = getattr(row, "audit", {})
    return found


def violations(audits: Sequence[Mapping[str, Any]]) -> str:
    attacked, found = (sum(audit[key] for audit in audits) for key in ("attacked", "violations"))
    if not attacked:
        return "–"
    return f"{found} of {attacked} (≤ {100 * float(upper_confidence_bound(found, attacked, 0.05)):.1f} %)"
