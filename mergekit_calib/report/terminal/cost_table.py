"""What a sweep will cost, as a table that people read in ten seconds."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mergekit_calib.report.text.formatting import counted
from mergekit_calib.results.cost import Duration, EntryCost, FittingSuite, PointCount, SweepCost

_WIDEST = 120  # terminal columns
_SI = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_MOST_ENTRIES = 12


class CostTable:
    """The cost of a sweep, for a console of any width.

    Args:
        cost: the cost.
    """

    def __init__(self, cost: SweepCost) -> None:
        self._cost = cost

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cost = self._cost
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value, detail in rows_of(cost):
            table.add_row(Text(name, style="bold"), value, Text(detail, style="dim"))
        table.width = min(options.max_width, _WIDEST)
        yield Text(cost.title, style="bold")
        yield Text()
        yield table
        if len(cost.entries) > 1:
            yield Text()
            yield _entries(cost)
        yield Text()
        for sentence in sentences_of(cost):
            yield Text(sentence)


def print_cost(cost: SweepCost, console: Console) -> None:
    """Print the cost of a sweep.

    Args:
        cost: the cost.
        console: where to.
    """
    console.print(CostTable(cost))


def rows_of(cost: SweepCost) -> Iterator[tuple[str, str, str]]:
    """Yield each row: its name, its number, and what the number is made of."""
    items, requests = (sum(getattr(e, name) for e in cost.entries) for name in ("items", "requests"))
    asked, distinct, run = (sum(getattr(e, name) for e in cost.entries) for name in ("asked", "distinct", "run"))
    generated = sum(entry.generated for entry in cost.entries)
    yield "points", _points(cost.points), cost.points.basis
    yield "items", f"{items:,}", f"a point; {counted(requests, 'request')}"
    detail = f"a point, every shared prefix once; {asked:,} without sharing, {run:,} are run"
    yield "tokens", f"{distinct:,}", detail
    if generated:
        yield "", f"≤ {generated:,}", "a point, of generated answers if each is as long as is allowed"
    bound = "≤ " if cost.generates else ""
    flops = sum(entry.flops for entry in cost.entries)
    parts = f"a point: 2 × {_si(cost.n_active)} active parameters a token, attention, the output head where it is read"
    yield "operations", f"{bound}{_si(flops)}FLOP", parts
    yield from _memory(cost)
    disk = cost.disk
    yield (
        "disk",
        _bytes(disk.kept),
        f"model {_bytes(disk.model)}, item scores {_bytes(disk.items)}, report {_bytes(disk.report)}; "
        f"{_bytes(disk.staging)} more while it is written",
    )
    yield from _time(cost)


def sentences_of(cost: SweepCost) -> Iterator[str]:
    """Yield what is said below the table."""
    if cost.fitting is not None:
        yield _fitting(cost.fitting)
    basis = f"Time is {'a bound' if cost.generates else 'an estimate'} for {cost.device}"
    if cost.workers > 1:
        basis += f" and {cost.workers} workers, as if each had its own"
    yield f"{basis}, in {cost.dtype}. {cost.basis}"
    yield from cost.notes


def _points(points: PointCount) -> str:
    if points.likely is None:
        return "no bound" if points.most is None else f"≤ {points.most:,}"
    if points.likely == points.most:
        return f"{points.likely:,}"
    return f"about {points.likely:,}" + (f", ≤ {points.most:,}" if points.most is not None else "")


def _memory(cost: SweepCost) -> Iterator[tuple[str, str, str]]:
    kept = "the parents mapped from their files" if cost.parents_mapped else f"the parents {_bytes(cost.parents)}"
    if cost.streams:
        kept = "the parents read from their files for each point"
    detail = f"live model {_bytes(cost.live)}, {kept}, scoring up to {_bytes(cost.scoring)}"
    if cost.building:
        detail += f", {_bytes(cost.building)} of the host's at the start"
    is_shared = cost.on_host == cost.on_device  # a CPU, of whose memory all workers take a part
    where = f"on {cost.device}"
    if cost.workers > 1:
        where = f"for {cost.workers} workers {where}; for each" if is_shared else f"{where} each"
    yield "memory", _bytes(cost.on_device), f"{where}: {detail}"
    if not is_shared:
        yield "", _bytes(cost.on_host), "of the host's memory"


def _time(cost: SweepCost) -> Iterator[tuple[str, str, str]]:
    bound = "≤ " if cost.generates else ""
    if cost.seconds is not None:
        about = "" if bound else "about "
        yield "time", f"{bound}{about}{duration(cost.seconds.total)}", _parts(cost.seconds)
        most = cost.seconds_at_most
        if most is not None and cost.points.most != cost.points.likely:
            yield "", f"≤ {duration(most.total)}", f"with {cost.points.most:,} points"
    yield "" if cost.seconds else "time", f"{bound}{duration(cost.point_seconds)}", "for one more point"


def _parts(seconds: Duration) -> str:
    named = {
        "start-up": seconds.start,
        "loading": seconds.load,
        "merging": seconds.merge,
        "scoring": seconds.score,
        "reading answers": seconds.answers,
        "statistics": seconds.statistics,
        "writing": seconds.write,
    }
    return ", ".join(f"{name} {duration(value)}" for name, value in named.items())


def _entries(cost: SweepCost) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("suite entry")
    for title in ("items", "tokens", "generated", "operations"):
        table.add_column(title, justify="right")
    by_cost = sorted(cost.entries, key=lambda entry: -entry.flops)
    for entry in by_cost[:_MOST_ENTRIES]:
        table.add_row(*_cells(entry))
    if len(by_cost) > _MOST_ENTRIES:
        table.add_row(f"… and {len(by_cost) - _MOST_ENTRIES} more")
    return table


def _cells(entry: EntryCost) -> tuple[str, ...]:
    generated = f"≤ {entry.generated:,}" if entry.generated else ""
    bound = "≤ " if entry.generated else ""
    return entry.name, f"{entry.items:,}", f"{entry.distinct:,}", generated, f"{bound}{_si(entry.flops)}FLOP"


def _fitting(fitting: FittingSuite) -> str:
    minutes = f"{fitting.minutes:g} minute{'' if fitting.minutes == 1 else 's'}"
    if fitting.limit is None:
        return f"The whole suite fits into {minutes}."
    if fitting.limit == 0:
        return f"No suite fits into {minutes}: with one document of each task it takes {duration(fitting.seconds)}."
    return (
        f"What fits into {minutes}: `limit: {fitting.limit}` in each entry, {counted(fitting.items, 'item')} a point, "
        f"{duration(fitting.seconds)}."
    )


def duration(seconds: float) -> str:
    """Return a duration in words: `0.4 s`, `35 s`, `12 min`, `3 h 20 min`, `2 d 3 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours:,} h {minutes} min" if hours < 10 and minutes else f"{hours:,} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours} h" if days < 10 and hours else f"{days:,} d"


def _si(value: float) -> str:
    for size, letter in _SI:
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g} "


def _bytes(n: int) -> str:
    if n >= 1e9:
        return f"{n / 1e9:,.1f} GB"
    return f"{n / 1e6:.1f} MB" if n < 1e7 else f"{n / 1e6:.0f} MB"
