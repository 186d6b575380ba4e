"""MadryHeat: HeatSmoothing of an adversarially trained model ("Adversarial Boot Camp", Table 4)."""

from __future__ import annotations

from methods.heat import Heat


class MadryHeat(Heat):
    """Heat's loss and recipes; only f is another model. No label is read here, though f was trained with them.

    The paper did this on ImageNet, with f trained at ε = 3: by Heat's `paper` recipe, one epoch at a constant lr.
    """

    summary = "label-free Gaussian averaging of a Madry model (Adversarial Boot Camp); one pass"
    starts_from = "madry"
