"""The source of the page is well-formed and small, and no name in it can inject markup or scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from helpers.report_factory import make_frontier
from mergekit_calib import Frontier
from mergekit_calib.report.page import report_html
from mergekit_calib.report.text.answer import answer_lines

VOID = {"meta", "img", "br", "link", "input", "hr"}
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)><!--\u2028\"'"
SHOWN = ATTACK.replace("\u2028", "\\u2028")  # the name as it is shown; a recipe is copied, and stays as it is


class Source(HTMLParser):
    """Checks nesting, and collects the tags, their attributes and what is in the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        else:
            self.texts.append(data)


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself() -> None:
    source = Source(report_html(make_frontier(failed=("lambda=0.3",))))
    assert source.open == []
    assert not {"iframe", "object", "form", "base", "embed"} & set(source.tags)
    outward = [value for name, value in source.attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith(("#", "data:")) for value in outward)


def test_its_policy_allows_only_its_own_scripts_by_their_hashes() -> None:
    source = Source(report_html(make_frontier()))
    policy = next(value for name, value in source.attributes if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    (scripts,) = re.findall(r"script-src ([^;]+)", policy)
    _, *running = source.scripts
    expected = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in running]
    assert scripts.split() == expected


def test_the_libraries_come_with_their_licences() -> None:
    text = report_html(make_frontier())
    assert text.count("Permission to use, copy, modify") == 2


def test_the_data_block_is_the_frontier_and_no_name_can_end_it() -> None:
    block = Source(report_html(attacked())).scripts[0]
    assert not set("<>&\u2028\u2029") & set(block)
    assert Frontier.model_validate(json.loads(block)) == attacked(SHOWN)


def test_names_are_escaped_in_the_markup() -> None:
    source = Source(report_html(attacked()))
    assert source.tags.count("script") == 4
    assert "img" not in source.tags
    assert not [name for name, _ in source.attributes if name.startswith("on")]
    assert SHOWN in source.texts


def attacked(name: str = ATTACK) -> Frontier:
    frontier = make_frontier(failed=("lambda=0.3",), name=name, method=name, notes=[name], versions={name: name})
    frontier.models = {"base": name, name: name}
    for i, point in enumerate(frontier.points):
        point.id, point.recipe = f"{i}{name}", ATTACK
        point.reason = name if point.status == "failed" else None
        if point.metrics:
            point.metrics |= {name: {name: point.metrics["suite"]["ece"]}}
    return frontier


def test_the_page_gives_the_answer_before_charts_and_table() -> None:
    frontier = make_frontier()
    text = report_html(frontier)
    assert text.index(answer_lines(frontier)[0]) < text.index('id="explore"') < text.index("<table")
    assert "prefers-color-scheme: dark" in text


def test_sixty_points_of_three_tasks_stay_under_three_megabytes() -> None:
    frontier = make_frontier({"lambda": [i / 40 for i in range(60)]})
    for point in frontier.points:
        point.metrics |= {
            f"task_{i}": point.metrics["suite"] | {f"m{k}": point.metrics["suite"]["ece"] for k in range(4)}
            for i in range(3)
        }
    assert len(report_html(frontier).encode()) < 3_000_000


def test_the_page_of_a_running_sweep_says_so() -> None:
    assert "The sweep is still running" in report_html(make_frontier(finished=False))
    assert "The sweep is still running" not in report_html(make_frontier())
