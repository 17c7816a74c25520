"""The scales of an axis: where values lie, the edges of bins, and ticks that tell what is true."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.fcs.scales import Axis, Scale, Tick

NARROWEST = 1e-6
"""An axis that somebody asks for is at least this wide, by its greater end."""
LETTERS = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "": 1.0}
LABEL = re.compile(r"(−?)(\d+(?:\.\d+)?)(?:e([+−]?\d+))?([KMGT]?)")
ENDS = st.floats(-1e300, 1e300, allow_subnormal=False) | st.integers(-(2**40), 2**40).map(float)
POSITIVE = st.floats(1e-290, 1e300) | st.integers(1, 2**40).map(float)
COFACTORS = st.sampled_from([150.0, 5.0, 1.0, 1e-3, 1e4, 1e9]) | st.floats(1e-3, 1e9)


@st.composite
def axes(draw: st.DrawFn, *scales: Scale) -> Axis:
    """An axis as it may be asked for."""
    scale = draw(st.sampled_from(scales or ("linear", "log", "asinh")))
    low, high = sorted(draw(st.tuples(*[POSITIVE if scale == "log" else ENDS] * 2)))
    largest = max(abs(low), abs(high))
    assume(largest > 1e-290)
    assume(high - low > NARROWEST * largest)
    return Axis(scale, low, high, draw(COFACTORS))


def labelled(axis: Axis) -> list[Tick]:
    return [tick for tick in axis.ticks() if tick.text is not None]


def said(tick: Tick) -> float:
    """What a label says, read by somebody who knows nothing of the tick."""
    if tick.power is not None:
        return {"": 1, "−": -1}[tick.text or ""] * 10.0**tick.power
    match = LABEL.fullmatch(tick.text or "")
    assert match, tick.text
    sign, number, power, letter = match.groups()
    exponent = (power or "0").replace("−", "-")
    return (-1 if sign else 1) * float(f"{number}e{exponent}") * LETTERS[letter]


def labels(axis: Axis) -> list[str]:
    """The labels as they are read: 10^3 for a power."""
    return [f"{tick.text}10^{tick.power}" if tick.power is not None else tick.text or "" for tick in labelled(axis)]


# Places and values


@given(axes(), st.floats(0, 1))
def test_the_value_at_a_place_lies_there(axis: Axis, place: float) -> None:
    assert axis.at(axis.value(place)) == pytest.approx(place, abs=1e-5)


@given(axes())
def test_the_ends_lie_at_the_ends(axis: Axis) -> None:
    assert (axis.at(axis.low), axis.at(axis.high)) == (0, 1)
    assert (axis.value(0), axis.value(1)) == (axis.low, axis.high)


@given(axes(), st.floats(0, 1), st.floats(0, 1))
def test_greater_values_lie_further(axis: Axis, one: float, other: float) -> None:
    low, high = sorted(axis.low * (1 - part) + axis.high * part for part in (one, other))
    assert axis.at(low) <= axis.at(high) + 1e-12


@pytest.mark.parametrize(
    ("axis", "value", "place"),
    [
        (Axis("linear", 0, 200), 50, 0.25),
        (Axis("linear", -100, 100), 0, 0.5),
        (Axis("log", 1, 10_000), 10, 0.25),
        (Axis("log", 0.01, 100), 1, 0.5),
        (Axis("asinh", -1000, 1000), 0, 0.5),
        (Axis("asinh", 0, 150 * math.sinh(4)), 150 * math.sinh(1), 0.25),
        (Axis("asinh", 0, 5 * math.sinh(4), 5), 5 * math.sinh(3), 0.75),
    ],
)
def test_places_are_where_the_scale_says(axis: Axis, value: float, place: float) -> None:
    assert axis.at(value) == pytest.approx(place)
    assert axis.value(place) == pytest.approx(value)


def test_asinh_is_linear_about_zero_and_logarithmic_far_from_it() -> None:
    axis = Axis("asinh", -1e7, 1e7, 150)
    assert axis.at(2) - axis.at(1) == pytest.approx(axis.at(1) - axis.at(0), rel=1e-3)
    assert axis.at(1e6) - axis.at(1e5) == pytest.approx(axis.at(1e5) - axis.at(1e4), rel=1e-3)
    assert axis.at(-1e5) == pytest.approx(1 - axis.at(1e5))


# Edges


@given(axes(), st.sampled_from([2, 3, 128, 256, 1024]))
def test_edges_grow_from_one_end_to_the_other(axis: Axis, bins: int) -> None:
    edges = axis.edges(bins)
    assert (len(edges), edges[0], edges[-1]) == (bins + 1, axis.low, axis.high)
    assert all(one < other for one, other in pairwise(edges))


@given(axes(), st.sampled_from([2, 7, 64]))
def test_bins_look_equally_wide(axis: Axis, bins: int) -> None:
    places = [axis.at(edge) for edge in axis.edges(bins)]
    assert places == pytest.approx([number / bins for number in range(bins + 1)], abs=1e-5)


TINY = [
    pytest.param(Axis("linear", 0, 5e-324), id="linear-least"),
    pytest.param(Axis("linear", 0, 1e-322), id="linear"),
    pytest.param(Axis("linear", -1e-320, 1e-320), id="linear-both-ways"),
    pytest.param(Axis("log", 5e-324, 1e-300), id="log"),
    pytest.param(Axis("asinh", 0, 1e-316), id="asinh"),
    pytest.param(Axis("asinh", 0, 1e-310, 1e9), id="asinh-with-a-large-cofactor"),
    pytest.param(Axis("asinh", 0, 1e-320, 1e9), id="asinh-of-nothing"),
]


@pytest.mark.parametrize("axis", TINY)
def test_an_axis_of_the_smallest_numbers_has_ticks_and_edges(axis: Axis) -> None:
    assert all(axis.low <= tick.value <= axis.high for tick in axis.ticks())
    assert all(0 <= axis.at(tick.value) <= 1 for tick in axis.ticks())
    edges = axis.edges(256)
    assert (edges[0], edges[-1]) == (axis.low, axis.high)
    assert edges == sorted(edges)


# Ticks


@given(axes())
def test_ticks_lie_within_the_axis_in_order_and_none_twice(axis: Axis) -> None:
    ticks = axis.ticks()
    assert all(axis.low <= tick.value <= axis.high for tick in ticks)
    assert all(one.value < other.value for one, other in pairwise(ticks))
    assert 2 <= len(ticks) <= 1300


@given(axes())
def test_an_axis_has_two_labels_at_least_and_no_crowd_of_them(axis: Axis) -> None:
    assert 2 <= len(labelled(axis)) <= 20


@given(axes())
def test_every_label_is_true_and_no_two_are_alike(axis: Axis) -> None:
    found = labelled(axis)
    scale = max(abs(axis.low), abs(axis.high))
    for tick in found:
        assert said(tick) == pytest.approx(tick.value, rel=1e-9, abs=scale * 1e-9)
    assert len(set(labels(axis))) == len(found)


@given(axes("log", "asinh"))
def test_ten_to_the_power_stands_at_powers_of_ten_alone(axis: Axis) -> None:
    for tick in labelled(axis):
        if tick.power is not None:
            assert abs(tick.value) == float(f"1e{tick.power}")
            assert tick.text == ("−" if tick.value < 0 else "")


@given(axes("linear"))
def test_labels_of_a_linear_axis_are_evenly_apart_at_round_numbers(axis: Axis) -> None:
    found = [tick.value for tick in labelled(axis)]
    step = (found[-1] - found[0]) / (len(found) - 1)
    near = 10.0 ** math.floor(math.log10(step) + 0.01)
    assert step / near == pytest.approx(min((1, 2, 5), key=lambda factor: abs(factor - step / near)), rel=1e-6)
    assert [value / step - round(value / step) for value in found] == pytest.approx([0] * len(found), abs=1e-3)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("linear", 0, 262_144), "0 50K 100K 150K 200K 250K"),
        (Axis("linear", 0, 16_777_215), "0 5M 10M 15M"),
        (Axis("linear", 0, 1e6), "0 200K 400K 600K 800K 1M"),
        (Axis("linear", 0, 1023), "0 200 400 600 800 1K"),
        (Axis("linear", -150, 250), "−100 0 100 200"),
        (Axis("linear", 0, 0.3), "0 0.05 0.1 0.15 0.2 0.25 0.3"),
        (Axis("linear", 1e-7, 5e-7), "1e−7 2e−7 3e−7 4e−7 5e−7"),
        (Axis("linear", 0, 3e12), "0 500G 1T 1.5T 2T 2.5T 3T"),
        (Axis("log", 1, 10_000), "10^0 10^1 10^2 10^3 10^4"),
        (Axis("log", 0.05, 20), "10^-1 10^0 10^1"),
        (Axis("log", 2, 8), "2 3 4 5 6 7 8"),
        (Axis("log", 1e-300, 1e300), "10^-300 10^-225 10^-150 10^-75 10^0 10^75 10^150 10^225 10^300"),
        (Axis("asinh", -1000, 262_144), "−10^3 0 10^3 10^4 10^5"),
        (Axis("asinh", -27_175, 16_777_215), "−10^4 −10^3 0 10^3 10^4 10^5 10^6 10^7"),
        (Axis("asinh", -500_000, -10), "−10^5 −10^4 −10^3 −10^2"),
        (Axis("asinh", -1e6, 1e6, 1e9), "−1M −500K 0 500K 1M"),
    ],
)
def test_labels_as_they_are_read(axis: Axis, expected: str) -> None:
    assert " ".join(labels(axis)) == expected


@pytest.mark.parametrize("axis", [Axis("linear", 999.9, 1000.1), Axis("linear", 999_900, 1_000_200)])
def test_a_letter_stands_for_no_less_than_one_of_it(axis: Axis) -> None:
    """999.95 is 999.95, not 0.99995K."""
    assert [label for label in labels(axis) if label.startswith("0.")] == []


@pytest.mark.parametrize("width", [1, 2, 5, 17, 100])
def test_labels_of_a_narrow_stretch_far_from_zero_are_told_apart(width: int) -> None:
    """What was measured may lie so close together; 64-bit integers do."""
    axis = Axis("linear", 1e9, 1e9 + width)
    assert len(set(labels(axis))) == len(labelled(axis)) >= 2


def test_a_decade_has_its_eight_smaller_ticks() -> None:
    found = [tick.value for tick in Axis("log", 1, 100).ticks() if tick.text is None]
    assert found == [2, 3, 4, 5, 6, 7, 8, 9, 20, 30, 40, 50, 60, 70, 80, 90]
    negative = [tick.value for tick in Axis("asinh", -2000, 262_144).ticks() if tick.value < -500]
    assert negative == [-2000, -1000, -900, -800, -700, -600]


@given(axes("asinh"))
def test_zero_is_labelled_on_an_asinh_axis_that_reaches_across_it(axis: Axis) -> None:
    assume(axis.low < 0 < axis.high)
    assert "0" in labels(axis)


@given(st.floats(10, 1e6), st.floats(1e3, 1e8))
def test_labels_of_powers_keep_away_from_that_of_zero(below: float, above: float) -> None:
    axis = Axis("asinh", -below, above)
    zero = axis.at(0)
    near = [tick for tick in labelled(axis) if tick.value and abs(axis.at(tick.value) - zero) < 0.05]
    assert near == []
