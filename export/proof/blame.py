"""Says which stage, and which layer, brings a difference: in the report, as a table on stderr, and in the error."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

from edgecnn.errors import EdgeCNNError, VerificationError
from edgecnn.spec import ModelSpec, PixelSpec
from edgecnn.terminal import say

from ..report import Report
from ..source import Source
from .inference import open_session, run
from .locate import first_difference
from .parity import OutputsDifferError
from .samples import Samples
from .stages import Walk, walk
from .synthetic import random_samples


class Blame:
    """The judgement over one model and its source."""

    def __init__(
        self,
        source: Source,
        spec: ModelSpec,
        theirs: PixelSpec | None,
        samples: Samples | None,
        atol: float,
        report: Report,
    ) -> None:
        """Theirs is the recipe of the training; spec has the one that the device will follow."""
        self._source, self._spec, self._theirs = source, spec, theirs
        self._samples, self._atol, self._report = samples, atol, report

    def check(self, graph: Any, quantised: bytes | None = None) -> str:
        """Take the walk through all stages, and describe it in a line.

        Raises:
            VerificationError: our input tensors are not the training library's.
        """
        found = self._walk(graph, quantised)
        self._report.stages = found.to_dict()
        try:
            found.check_pixels()
        except VerificationError:
            say(found.table())
            raise
        return found.describe()

    def explain(self, error: VerificationError, graph: Any, quantised: bytes | None = None) -> VerificationError:
        """The error with the layer where it begins; the stages go to the report and to stderr."""
        layer = None
        # What can't be run at all has no stages and no layers.
        with contextlib.suppress(EdgeCNNError):
            if isinstance(error, OutputsDifferError):
                layer = first_difference(self._source, graph, error.inputs, self._atol)
            found = dataclasses.replace(self._walk(graph, quantised), layer=layer)
            self._report.stages = found.to_dict()
            say(found.table())
        return VerificationError(f"{error}; the first layer whose output differs is {layer}" if layer else str(error))

    def _walk(self, graph: Any, quantised: bytes | None) -> Walk:
        def runner(content: bytes) -> Any:
            return functools.partial(run, open_session(content), self._source)

        return walk(
            self._source,
            self._spec.pixels,
            self._theirs,
            self._samples or random_samples(self._source, self._spec),
            graph=runner(graph.SerializeToString()),
            quantised=None if quantised is None else runner(quantised),
            atol=self._atol,
        )
