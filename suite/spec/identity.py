"""Who is who on disk: digests of what a model, a run and a protocol's records depend on.

A setting that has its default is not part of a digest, so a new setting with a default moves nothing that is there.
Where a default changes, or the same settings make other records, the protocol's `version` is raised.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from methods import METHODS
from suite.spec.sections import PROTOCOLS, Frozen

if TYPE_CHECKING:
    from suite.spec.model_spec import ModelSpec
    from suite.spec.run_spec import RunSpec


def identify(content: Any, digits: int = 10) -> str:
    """Hex digits that tell JSON values apart."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:digits]


def model_content(spec: ModelSpec, *, seeds: bool = True) -> dict[str, Any]:
    """What a model's weights and noise depend on; without `seeds` the same for runs that differ in their seed alone."""
    parameters = METHODS.get(spec.method).Parameters(**spec.parameters)
    return {
        "method": spec.method,
        "dataset": spec.dataset,
        "data": spec.data,
        "arch": spec.arch,
        "sigma": spec.sigma,
        "seed": spec.seed if seeds else None,
        "parameters": parameters.model_dump(mode="json", exclude_defaults=True),
        "training": spec.training.model_dump(mode="json", exclude_defaults=True),
        "start": spec.start and model_content(spec.start, seeds=seeds),
    }


def records_content(spec: RunSpec, name: str, *, seeds: bool = True, defaults: bool = False) -> dict[str, Any]:
    """What a protocol's records depend on besides the model: its section, what it reads of others, what it needs.

    With `defaults` also the settings that have their default, as they are written down beside the records.
    """
    protocol = PROTOCOLS.get(name)
    reads = {path: section_content(spec, path, seeds=seeds, defaults=defaults) for path in protocol.reads}
    return {
        "version": protocol.version,
        "settings": section_content(spec, name, seeds=seeds, defaults=defaults),
        "reads": {path: found for path, found in reads.items() if found},
        "needs": {
            needed: records_content(spec, needed, seeds=seeds, defaults=defaults) for needed in needs_of(spec, name)
        },
    }


def needs_of(spec: RunSpec, name: str) -> list[str]:
    """The protocols whose records a protocol of a run reads: without noise, not those that need it."""
    needs = PROTOCOLS.get(name).needs
    return [needed for needed in needs if spec.noise_sigma or not PROTOCOLS.get(needed).needs_noise]


def section_content(spec: RunSpec, path: str, *, seeds: bool, defaults: bool) -> dict[str, Any]:
    """The settings of a section, or the one at `section.setting`; a model within it as its content."""
    name, _, field = path.partition(".")
    section = spec.sections.get(name)
    if section is None:
        return {}
    content: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=not defaults)
    for key in content:
        if isinstance(model := getattr(section, key), Frozen):
            content[key] = model_content(model, seeds=seeds)  # type: ignore[arg-type]
    return {key: value for key, value in content.items() if not field or key == field}
