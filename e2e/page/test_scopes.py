"""Figures of a container or a task, and of a host that has both."""

import re

from dashboard import TOO_WIDE, panel, picture
from fake_samples import TASK


def test_a_container_says_whose_numbers_these_are(opened, backend):
    backend.scene.scope = "container"
    page = opened()
    words = page.locator("body").inner_text()
    assert re.search(r"container", words, re.IGNORECASE)
    assert re.search(r"0[.,]50?\s(CPU|core)", words), words[:300]
    assert re.search(r"(512\sMi?B|537\sMB)", words), words[:300]
    told = panel(page, "container").inner_text().lower()
    assert "throttled" in told and "killed for memory\n2" in told, told
    picture(page, "container")


def test_a_task_lists_its_containers(opened, backend):
    backend.scene.scope = "task"
    page = opened()
    told = panel(page, "task").inner_text()
    for name in TASK:
        assert name in told
    assert page.evaluate(TOO_WIDE) == []
    picture(page, "task")


def test_figures_of_the_container_are_labelled_on_a_page_of_the_host(opened):
    label = "Of the stats container, not of the host"

    def in_a_container(told):
        told["scope"] = {"kind": "host", "reason": "STATS_SCOPE is host"}
        return {**told, "network_scope": "container", "mounts_scope": "host"}

    page = opened(change=in_a_container)
    assert label in panel(page, "network").inner_text()
    assert label not in panel(page, "filesystems").inner_text()
    assert label not in panel(page, "disk").inner_text()
    assert "of the\u00a0container" in page.locator('[data-tile="network"]').inner_text()
