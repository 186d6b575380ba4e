"""The ranges that settings share, and a value outside of one said in a line. Pixels are in [0,1].

The upper ends are beyond what anybody means: they stop a slip of the hand, and numbers for pixels in 0..255, before
any work is done with them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from suite.errors import UserError


def _at_most(most: float) -> AfterValidator:
    """A number in units of pixels; what it would be here if it was meant for pixels in 0..255 is suggested."""

    def check(value: float) -> float:
        if value > most:
            hint = f"; if it is meant for pixels in 0..255, give {value / 255:.4g}" if value <= 255 * most else ""
            raise ValueError(f"at most {most:g}, with pixels in [0,1]{hint}")
        return value

    return AfterValidator(check)


def _above_zero(most: float) -> Any:
    """What a range says of itself, in the schema of what has such a setting."""
    return Field(gt=0, allow_inf_nan=False, json_schema_extra={"maximum": most})


Scale = Annotated[float, _above_zero(10), _at_most(10)]  # σ, δ: ten times the range of a pixel; published σ end at 2
Radius = Annotated[float, _above_zero(20), _at_most(20)]  # ε of adversarial training; published ones end at 5
Distance = Annotated[float, _above_zero(400), _at_most(400)]  # images of 3 × 224 × 224 are 388 apart at most
Mean = Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"maximum": 1}), _at_most(1)]
Std = Annotated[float, _above_zero(1), _at_most(1)]
Draws = Annotated[int, Field(ge=1, le=10**8)]
Images = Annotated[int, Field(ge=1, le=10**7)]
Steps = Annotated[int, Field(ge=1, le=100_000)]


def _visible(text: str) -> str:
    if hidden := next((letter for letter in text if not letter.isprintable()), None):
        raise ValueError(f"the character U+{ord(hidden):04X} cannot be seen: a name has none that controls or reorders")
    return text


Name = Annotated[str, AfterValidator(_visible)]  # of what tables and files show


def one_line(error: ValidationError) -> str:
    """The first fault: where it is, what it is, and the value that was given."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    value = f" (got {first['input']!r})" if not isinstance(first["input"], dict) else ""
    return f"{where}: {said}{value}" if where else said


def check(name: str, value: Any, kind: Any) -> None:
    """Raise UserError unless `value` lies in a range of this module."""
    try:
        TypeAdapter(dict[str, kind]).validate_python({name: value})
    except ValidationError as error:
        raise UserError(one_line(error)) from error
