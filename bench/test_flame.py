"""Stacks as perf prints them, and what is drawn of them."""

from __future__ import annotations

import xml.etree.ElementTree
from collections import Counter

import flame
import pytest

SCRIPT = """
  ffff read<T>::h0123456789abcdef
  aaaa main

  bbbb write
  aaaa main

  bbbb write
  aaaa main
"""


def test_the_same_stacks_come_together_from_their_first_caller_on() -> None:
    assert flame.folded(SCRIPT) == Counter({("main", "write"): 2, ("main", "read<T>"): 1})


def test_the_heaviest_is_what_itself_was_seen_most() -> None:
    (first, share), (second, _) = flame.heaviest(flame.folded(SCRIPT))
    assert (first, second) == ("write", "read<T>")
    assert share == pytest.approx(2 / 3)


def test_a_box_is_as_wide_as_it_was_often_seen() -> None:
    picture = xml.etree.ElementTree.fromstring(flame.drawn("a < b", flame.folded(SCRIPT)))
    widths = [float(box.get("width")) for box in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert sorted(widths) == [400.0, 800.0, 1200.0]
