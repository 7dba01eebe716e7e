"""What a sweep will cost, as `mergekit-calib plan` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PointCount:
    """How many points a sweep scores, parents included.

    Attributes:
        likely: the number that estimates are made for; None if only a number of minutes limits it.
        most: the greatest number; None if nothing bounds it.
        basis: what the numbers follow from, in a few words.
    """

    likely: int | None
    most: int | None
    basis: str


@dataclass(frozen=True)
class EntryCost:
    """What one point costs in one entry of the suite.

    Attributes:
        name: the entry.
        items: documents that are scored.
        requests: requests, each sample of a generated answer counted.
        asked: input tokens of all requests, if each were run alone.
        distinct: the same, with every shared prefix counted once.
        run: tokens that are run; above `distinct` where a short prefix is run again in another step.
        generated: the greatest number of tokens of generated answers; 0 if nothing is generated.
        body_flops: floating-point operations without the output head; at most, if answers are generated.
        head_flops: the same, of the output head.
        decode_flops: the part of both that generates, token by token.
        decode_steps: forward passes that generate one token of each answer of a batch, at most.
    """

    name: str
    items: int
    requests: int
    asked: int
    distinct: int
    run: int
    generated: int
    body_flops: float
    head_flops: float
    decode_flops: float = 0.0
    decode_steps: int = 0

    @property
    def flops(self) -> float:
        """All floating-point operations."""
        return self.body_flops + self.head_flops


@dataclass(frozen=True)
class Duration:
    """How long a sweep takes, in seconds.

    Attributes:
        start: imports, reading models and tasks, tokenising.
        load: building the live model.
        merge: setting the live model's weights, of all points.
        score: running the model, of all points; at most, if answers are generated.
        answers: reading the answers and computing the tasks' own metrics, of all points.
        statistics: estimates, resamples and predictions after each point and at the end.
        write: merging the chosen point into files, pictures and page.
    """

    start: float
    load: float
    merge: float
    score: float
    answers: float
    statistics: float
    write: float

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.start + self.load + self.merge + self.score + self.answers + self.statistics + self.write


@dataclass(frozen=True)
class Disk:
    """Bytes on disk.

    Attributes:
        model: the written model.
        staging: what is needed beside it while it is written, or while points go through a temporary folder.
        items: item scores, of all points.
        report: pictures, page and tables.
    """

    model: int
    staging: int
    items: int
    report: int

    @property
    def kept(self) -> int:
        """What stays in the folder."""
        return self.model + self.items + self.report


@dataclass(frozen=True)
class FittingSuite:
    """The largest suite that fits into a number of minutes.

    Attributes:
        minutes: the minutes.
        limit: the `limit` of each entry; None if all of the suite fits, 0 if not even one document of each task does.
        items: documents with this limit.
        seconds: how long the sweep takes with it.
    """

    minutes: float
    limit: int | None
    items: int
    seconds: float


@dataclass(frozen=True)
class SweepCost:
    """What a sweep costs.

    Attributes:
        title: the models and the method.
        points: how many points are scored.
        entries: what one point costs, by entry of the suite.
        n_active: numbers of the model that a token is multiplied with, in the body and the output head.
        dtype: the dtype that models are scored in.
        device: the device, in words.
        workers: how many workers share the points.
        live, parents, scoring, building: bytes of the live model, of the parents' copies, of a scorer at work, and of
            the host while the live model is built.
        on_device, on_host: peak bytes of one worker on its device, and of all workers on the host.
        parents_mapped: whether the parents are mapped from their files, so that they take no memory of their own.
        streams: whether the parents are read from their files for each point.
        disk: bytes on disk.
        seconds: how long the sweep takes with `points.likely` points; None if their number is not known.
        seconds_at_most: the same with `points.most` points.
        point_seconds: how long one more point takes.
        basis: what the time is based on, in sentences.
        fitting: the largest suite that fits into the minutes that were asked for.
        notes: sentences that preflight adds.
    """

    title: str
    points: PointCount
    entries: Sequence[EntryCost]
    n_active: int
    dtype: str
    device: str
    workers: int
    live: int
    parents: int
    scoring: int
    building: int
    on_device: int
    on_host: int
    parents_mapped: bool
    streams: bool
    disk: Disk
    seconds: Duration | None
    seconds_at_most: Duration | None
    point_seconds: float
    basis: str
    fitting: FittingSuite | None = None
    notes: Sequence[str] = ()

    @property
    def generates(self) -> bool:
        """Whether answers are generated, so that operations and time are bounds."""
        return any(entry.generated for entry in self.entries)
