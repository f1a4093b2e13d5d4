"""Which output of a file plays which role: decided by shape alone, checked against the catalogue.

The names of outputs are made up by exporters and compilers, so they are ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ml_target.catalogue.types import FeatureMap, Output, StepSequence, TokenStates, Vector
from ml_target.errors import ModelError
from ml_target.tensors import Array

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """Output number `index` is `output`; `channels_first` where it must be transposed to H x W x C."""

    output: Output
    index: int
    channels_first: bool = False

    def canonical(self, values: Array, frame: Shape) -> Array:
        """One frame's values of this output in the catalogue's shape, without a copy where possible."""
        shape = canonical_shape(self.output, frame)
        if self.channels_first:
            height, width, channels = shape
            return np.ascontiguousarray(values.reshape(channels, height, width).transpose(1, 2, 0))
        return values.reshape(shape)


def canonical_shape(output: Output, frame: Shape) -> Shape:
    """The shape the catalogue gives this output for a frame of H x W x 3 (texts: whatever the frame is)."""
    match output:
        case Vector():
            return (output.width,)
        case TokenStates():
            return (output.tokens, output.width)
        case FeatureMap():
            return (frame[0] // output.stride, frame[1] // output.stride, output.channels)
        case StepSequence():
            return (frame[1] // output.step, output.classes)


def bind(forms: Sequence[Sequence[Output]], shapes: Sequence[Shape], frame: Shape) -> tuple[Binding, ...]:
    """The roles of a file's outputs, for the first of the `forms` that fits.

    `shapes`: of one frame's outputs, batch axis included or not; `frame`: that frame's shape.
    Raises ModelError with both lists when no form fits, or when two outputs fit one role.
    """
    problems = []
    for form in forms:
        bindings = []
        for output in form:
            fitting = [b for i, s in enumerate(shapes) if (b := _fit(output, i, s, frame)) is not None]
            if len(fitting) != 1:
                problems.append(f"{len(fitting)} outputs fit '{output.role}'")
                break
            bindings.append(fitting[0])
        else:
            return tuple(bindings)
    wanted = " or ".join(
        "{" + ", ".join(f"{o.role} {_text(canonical_shape(o, frame))}" for o in form) + "}" for form in forms
    )
    raise ModelError(
        f"it has outputs {', '.join(map(_text, shapes)) or 'none'} where {wanted} is wanted ({'; '.join(problems)})",
        "It is another network, or an export of another kind: replace it with the catalogue's file.",
    )


def _fit(output: Output, index: int, shape: Shape, frame: Shape) -> Binding | None:
    wanted = canonical_shape(output, frame)
    bare = _without_leading_ones(shape)
    if prod(bare) != prod(wanted):
        return None
    if isinstance(output, Vector):
        return Binding(output, index)
    if isinstance(output, TokenStates):
        # A text tower may declare 8 x 8 x 768 for 64 tokens: the elements stand in the same order.
        return Binding(output, index) if bare[-1] == output.width else None
    if isinstance(output, StepSequence):
        return Binding(output, index) if bare == _without_leading_ones(wanted) else None
    height, width, channels = wanted
    flattened = (height * width * output.anchors, channels // output.anchors)
    if bare in (_without_leading_ones(wanted), _without_leading_ones(flattened)):
        return Binding(output, index)
    if bare == _without_leading_ones((channels, height, width)):
        return Binding(output, index, channels_first=channels > 1)
    return None


def _without_leading_ones(shape: Shape) -> Shape:
    start = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return tuple(shape[start:])


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
