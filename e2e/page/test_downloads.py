"""Figures and charts as files, and on the clipboard."""

import csv
import io
import json
import re
import xml.etree.ElementTree

from dashboard import LISTEN, button, until


def test_what_is_shown_can_be_taken_away(chromium, opened):
    page = opened(accept_downloads=True)

    def downloaded(name):
        with page.expect_download() as download:
            button(page, name).click()
        with open(download.value.path(), encoding="utf-8") as file:
            return file.read()

    rows = list(csv.DictReader(io.StringIO(downloaded("download-csv"))))
    assert len(rows) > 500
    assert "time_unix_ms" in rows[0] and float(rows[-1]["cpu"]) >= 0
    told = json.loads(downloaded("download-json"))
    assert "0123456789abcdef" in json.dumps(told)
    picture_of = xml.etree.ElementTree.fromstring(downloaded("download-svg-cpu"))
    assert picture_of.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_figures_can_be_copied(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(LISTEN, "Copied")
    button(page, "copy-json").click()
    until(page, "heard")
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("button", name="Copy", exact=True).wait_for()


def test_texts_that_are_selected_are_copied_with_their_spaces(opened):
    page = opened()
    selected = "() => { getSelection().selectAllChildren(document.body); return getSelection().toString(); }"
    text = page.evaluate(selected)
    # A double click selects the instance as a word.
    assert re.search(r"\s0123456789abcdef\s+up\s", text), text
    assert re.search(r"5\smin\s1[.,]50\s+15\smin\s0[.,]75", text), text


def test_figures_that_a_browser_does_not_copy_are_saved(chromium, opened):
    page = opened(accept_downloads=True)
    page.evaluate("() => void (navigator.clipboard.writeText = () => Promise.reject(new Error('denied')))")
    with page.expect_download() as download:
        button(page, "copy-json").click()
    assert download.value.suggested_filename.endswith(".json")
    assert page.get_by_role("button", name="Copied").count() == 0
