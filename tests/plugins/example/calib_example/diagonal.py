from pydantic import Field

from mergekit_calib.search import Strategy, search_strategy


@search_strategy("diagonal")
class Diagonal(Strategy):
    """Move all axes together, in equal steps from one end to the other."""

    needs_budget = False  # it stops by itself

    steps: int = Field(default=4, ge=1)

    @classmethod
    def fits(cls, axes):
        without = [name for name, axis in axes.items() if len(axis.numbers) < 2]
        return f"diagonal needs numbers on every axis, and {without[0]} has none" if without else None

    def ask(self, study):
        for step in range(self.steps + 1):
            setting = {
                name: axis.place(axis.numbers[0] + step / self.steps * (axis.numbers[-1] - axis.numbers[0]))
                for name, axis in study.axes.items()
            }
            if not study.has(setting):
                return study.start(setting)
        return None
