"""The state of the stream at the top of the page."""

import pytest
from dashboard import NOTICE_MS, TOO_WIDE, backend, frontend, opened, picture, settled

LONG = "Live, earlier minutes are missing: another instance answered"


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_a_long_status_wraps_beside_its_lamp(opened, backend, width):
    """The text and its lamp are one line of the header; below the lamp the text looks like another."""
    backend.scene.history_status = 503
    backend.scene.stream_status = 404
    page = opened(trouble=True, viewport={"width": width, "height": 640})
    status = page.locator('[data-testid="status"]')
    page.wait_for_function(
        """() => /earlier minutes/.test(document.querySelector('[data-testid="status"]').textContent)""",
        timeout=NOTICE_MS,
    )
    status.evaluate("(box, text) => { box.firstChild.data = text }", LONG)
    settled(page)
    text, lamp = status.bounding_box(), page.locator(".lamp").bounding_box()
    assert text["x"] >= lamp["x"] + lamp["width"], (text, lamp)
    middle = lamp["y"] + lamp["height"] / 2
    assert text["y"] < middle < text["y"] + text["height"], (text, lamp)
    assert page.evaluate(TOO_WIDE) == []
    picture(page, f"status-{width}")
