"""What comes out of a run: one typed result, which runs write and boards read. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from suite.errors import MISFIT, UserError, first_line
from suite.spec.sections import PROTOCOLS
from suite.spec.shell_line import command
from suite.statistics.bounds import largest_radius, mean_p_a

if TYPE_CHECKING:
    from suite.spec.run_spec import RunSpec

Whole = Annotated[int, Field(ge=0, lt=2**63)]  # as tables can hold
SCHEMA = 5
EARLIER = "earlier adaptive sampling"  # of results before schema 3: its rule gave some images up too soon


class Result(BaseModel):
    """A row's part that one run, or one published log, gives: what it is of, and the metrics of its protocols.

    Shares are in [0,1]; radii and distances are ℓ2 norms of pixels in [0,1]; what is not known is None. The metrics of
    certificates are fields; those of another protocol stand under its own name, as its `metrics` gives them.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    run_id: str
    method: str
    dataset: str
    data: str = ""
    fingerprint: str = Field(default="", description="of the data, where they are a folder of one's own")
    arch: str = ""
    variant: str = Field(default="", description="what sets a published row apart from others of its method")
    sigma: FiniteFloat | None = None
    trained_sigma: FiniteFloat | None = None
    seed: Whole | None = None
    profile: str | None = None
    source: Literal["run", "published", "paper, table", "paper, plot"] = "run"
    read: Literal["log", "table", "plot"] = "log"
    recipe: str = Field(default="", description="the same for runs that differ in their seeds alone")
    sections: dict[str, str] = Field(
        default={}, description="of each protocol, the digest of its settings without seeds"
    )
    records: dict[str, str] = Field(default={}, description="of each protocol, the name of the file of its records")
    command: str = ""
    citation: str = ""
    url: str = Field(default="", description="of what the citation names")
    note: str = ""
    date: str = ""
    deployed: Literal["pass", "vote"] | None = None
    kind: Literal["vote", "margin"] = Field(default="vote", description="of the certificate")
    top: Whole = 1
    protocols: list[str] = []
    claim: str = Field(default="", description="what the certificate guarantees, and of which classifier")
    images: Whole | None = None
    every: Whole | None = 1
    n0: Whole | None = None
    n: Whole | None = None
    alpha: FiniteFloat | None = None
    sampling: Literal["fixed", "adaptive", "earlier adaptive sampling"] | None = "fixed"
    noise: Literal["gaussian", "discrete"] | None = "gaussian"
    precision: Literal["fp32", "bf16"] | None = "fp32"
    decided: list[FiniteFloat] | None = None
    clean_accuracy: FiniteFloat | None = None
    single_pass_accuracy: FiniteFloat | None = None
    single_pass_images: Whole | None = None
    certified_accuracy: dict[str, FiniteFloat | None] = {}
    certified_accuracy_paper: dict[str, FiniteFloat | None] = {}
    acr: FiniteFloat | None = None
    p_a: FiniteFloat | None = None
    abstained: FiniteFloat | None = None
    median_radius: FiniteFloat | None = None
    draws: FiniteFloat | None = None
    seconds_per_certificate: FiniteFloat | None = None
    image_radii: list[FiniteFloat | None] = Field(
        default=[], description="by image: R, -1 where wrong, None where abstained"
    )

    @cached_property
    def radius(self) -> NDArray[np.float64] | None:
        """`image_radii` (N,), NaN where abstained; None where they are not known."""
        return np.array(self.image_radii, float) if self.image_radii else None

    def metric(self, path: str) -> float | None:
        """The number at a dotted place; None where there is none."""
        first, *inner = path.split(".")
        value = vars(self).get(first, (self.model_extra or {}).get(first))
        for name in inner:
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def __hash__(self) -> int:
        return hash(self.run_id)

    def __repr__(self) -> str:
        return f"<row {self.run_id}: {self.summary}>"

    @property
    def summary(self) -> str:
        """The row in a line: clean accuracy, certified accuracy at the first radii, ACR, and on how many images."""
        clean = [] if self.clean_accuracy is None else [f"clean {100 * self.clean_accuracy:.1f} %"]
        radii = [f"{100 * s:.1f} % at {r}" for r, s in list(self.certified_accuracy.items())[:3] if s is not None]
        certified = [f"certified {', '.join(radii)}", f"ACR {self.acr:.3f}"] if self.acr is not None else []
        return "; ".join([*clean, *certified, f"{self.images or self.single_pass_images} images"])

    @property
    def holds(self) -> bool | None:
        """Whether the certificates are of what the row deploys; None where its deployment is not known.

        A vote's radius is proven for the vote under noise, and not for a single pass of the same network.
        """
        if self.kind == "margin":
            return True
        return None if self.deployed is None else self.deployed == "vote"

    @property
    def is_certified(self) -> bool:
        """Whether it has certificates: only such a run stands on a board."""
        return self.acr is not None

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """The result in a file, also of an earlier version. Raises UserError where it is damaged."""
        try:
            return cls.model_validate(upgrade(json.loads(file.read_bytes())), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except MISFIT as error:
            said = first_line(error)
        raise UserError(f"{file} is damaged ({said})")


def upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """A result as this version writes it, from one of any version."""
    if content.get("schema") == SCHEMA:
        return content
    found = {"source": "run", "run_id": "", **content, "schema": SCHEMA}
    if inference := found.pop("inference", None):
        found["deployed"] = "pass" if inference == "one pass" else "vote"
    if found.get("sampling") == "adaptive" and "decided" not in found:
        largest = largest_radius(found["n"], found["alpha"], found["sigma"])
        decided = [0.0, *(r for r in map(float, found["certified_accuracy"]) if r < largest)]
        found |= {"sampling": EARLIER, "decided": decided}
    if found.get("image_radii") and found.get("kind", "vote") == "vote" and found.get("sigma"):
        radius = np.array(found["image_radii"], float)
        found.setdefault("p_a", mean_p_a(np.nan_to_num(radius), radius >= 0, found["sigma"]))
    return found


def make_result(spec: RunSpec, data_name: str, data_title: str, records: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A run's result as JSON values, radii as keys of the certified accuracies. `records` by protocol."""
    row: dict[str, Any] = {
        "schema": SCHEMA,
        **settings_of(spec, list(records)),
        "dataset": data_name,
        "data": data_title,
        "fingerprint": spec.data if _is_own(spec.dataset, data_name, data_title) else "",
        "date": datetime.now(UTC).date().isoformat(),
    }
    for name, found in reversed(records.items()):  # accuracy, measured on the most images, comes last
        row |= metrics_of(name, spec, found)
    return row


def settings_of(spec: RunSpec, protocols: list[str]) -> dict[str, Any]:
    """What a run's spec alone puts into its result, for the protocols that it has records of."""
    method = spec.build_method()
    return {
        "run_id": spec.name,
        "recipe": spec.recipe,
        "sections": {name: spec.records_digest(name, seeds=False) for name in protocols},
        "records": {name: f"{name}-{spec.records_digest(name)}.jsonl" for name in protocols},
        "command": command(spec, protocols),
        "method": method.label or spec.method,
        "arch": spec.arch,
        "sigma": spec.noise_sigma,
        "trained_sigma": spec.model.sigma,
        "seed": spec.seed,
        "profile": spec.profile,
        "source": "run",
        "deployed": spec.deployed,
        "top": spec.certify.top,
        "protocols": protocols,
    }


def metrics_of(protocol: str, spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """What a protocol's records put into a result. Raises UserError where a record is not whole."""
    try:
        return PROTOCOLS.get(protocol).metrics(spec, records)
    except MISFIT as error:
        raise UserError(
            f"the {protocol} records of {spec.name} are damaged ({type(error).__name__}: {first_line(error)}); remove "
            "the damaged lines, which 'suite verify' names, and run the same command again"
        ) from error


def _is_own(dataset: str, name: str, title: str) -> bool:
    """Whether the data were a folder of one's own; a built-in data set's title is never its name, and a folder's is."""
    from suite.data import DATASETS, is_folder  # imports torch, which whoever reads results does not need

    return is_folder(dataset) or (dataset in DATASETS.builtin and title == name)
