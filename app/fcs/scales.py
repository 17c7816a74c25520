"""The scales of an axis: where a value lies on it, and the ticks that tell so."""

import math

import msgspec

from app.fcs.layout import Scale


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis. `text` None: one without a label; `power`: the label is 10 to this, with `text` before it."""

    value: float
    text: str | None
    power: int | None = None


class Axis(msgspec.Struct, frozen=True):
    """A stretch of a scale, from `low` to `high`, both finite, `low` the less; of `log` both are above 0.

    `asinh` is linear about 0 and logarithmic far from it; `cofactor` is where the one becomes the other.
    """

    scale: Scale
    low: float
    high: float
    cofactor: float = 150.0

    def at(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`."""
        low, high = self._bent(self.low), self._bent(self.high)
        return (self._bent(value) - low) / ((high - low) or 1.0)

    def value(self, at: float) -> float:
        """The value that lies there."""
        if at in (0.0, 1.0):
            return self.high if at else self.low
        low, high = self._bent(self.low), self._bent(self.high)
        return self._straight(low * (1 - at) + high * at)

    def edges(self, bins: int) -> list[float]:
        """The limits of so many bins that look equally wide: one more than there are bins."""
        return [self.value(number / bins) for number in range(bins + 1)]

    def _bent(self, value: float) -> float:
        if self.scale == "log":
            return math.log10(value)
        return math.asinh(value / self.cofactor) if self.scale == "asinh" else value

    def _straight(self, place: float) -> float:
        if self.scale == "log":
            return float(10.0**place)
        return math.sinh(place) * self.cofactor if self.scale == "asinh" else place

    def ticks(self) -> list[Tick]:
        """The ticks within the stretch, in order."""
        if self.scale == "linear":
            return self._within(_linear(self.low, self.high))
        found = self._within(self._decades())
        if _labels(found) < 2:
            numbered = self._within([_numbered(tick) for tick in found]) if self.scale == "log" else []
            found = numbered if _labels(numbered) > 2 else self._within(_linear(self.low, self.high))
        return sorted(found, key=lambda tick: tick.value)

    def _within(self, ticks: list[Tick]) -> list[Tick]:
        return [tick for tick in ticks if self.low <= tick.value <= self.high]

    def _decades(self) -> list[Tick]:
        """The powers of ten, labelled where there is room, and what lies between them."""
        first = math.floor(math.log10(self.low if self.scale == "log" else self.cofactor))
        signs = [(1, ""), (-1, "−")] if self.scale == "asinh" else [(1, "")]
        found = [Tick(0.0, "0")] if self.scale == "asinh" else []
        last = math.ceil(math.log10(max(abs(self.low), abs(self.high), 10.0**first)))
        decades = last - first
        every = max(1, math.ceil(decades / (8 if decades <= 8 else 8 / len(signs))))
        for power in range(first, last + 1, every if decades > _MANY_DECADES else 1):
            for sign, mark in signs:
                for step in range(1, 10) if decades <= _MOST_DECADES else (1,):
                    value = sign * float(f"{step}e{power}")
                    named = step == 1 and (power - first) % every == 0 and self._apart(value)
                    found.append(Tick(value, mark if named else None, power if named else None))
        return found

    def _apart(self, value: float) -> bool:
        """Whether a label there would not lie upon that of 0."""
        if self.scale == "log" or not (self.low <= 0 <= self.high and self.low <= value <= self.high):
            return True
        return abs(self.at(value) - self.at(0.0)) > _ROOM


_MOST_DECADES, _MANY_DECADES = 12, 60
_ROOM = 0.06
_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))


def _labels(ticks: list[Tick]) -> int:
    return sum(tick.text is not None for tick in ticks)


def _numbered(tick: Tick) -> Tick:
    """The tick with its number as a label where it begins with 1, 2 or 5: for less than two powers of ten."""
    return Tick(tick.value, _told(tick.value) if f"{tick.value:e}"[0] in "125" else None)


def _linear(low: float, high: float) -> list[Tick]:
    """Round numbers, a few of them labelled, with smaller ticks between; in a narrow stretch by their distances."""
    rough = (high - low) / 6
    if rough < _FINEST:
        return []
    power = math.floor(math.log10(rough))
    step = next((factor for factor in (1, 2, 5) if factor * 10.0**power >= rough), 10) * 10.0**power
    small = step / 5
    base: float | None = None
    found = []
    for number in range(math.ceil(low / small), math.floor(high / small) + 1):
        value = float(f"{number * small:.15g}")
        text = None
        if number % 5 == 0:
            is_narrow = abs(value) > step * _NARROW
            text = _told(value) if base is None or not is_narrow else f"+{_told(float(f'{value - base:.5g}'))}"
            base = value if base is None else base
        found.append(Tick(value, text))
    return found


_FINEST = 1e-300
_NARROW = 1e5
"""So many steps from 0 a label would be longer than its place."""


def _told(value: float) -> str:
    size, letter = next(((size, letter) for size, letter in _LARGE if size <= abs(value) < 1e15), (1.0, ""))
    return f"{value / size:.15g}".replace("-", "−").replace("e−0", "e−").replace("e+0", "e") + letter
