"""The page of ``trace``: complete in itself, safe with hostile text, usable by keyboard and on a phone."""

import json
import re
from html.parser import HTMLParser

import pytest
from ar_decode.replay import Pass, Replay, Scene, render
from headless_browser import visit

HOSTILE = "</script><script>alert(1)</script> <img src=x onerror=alert(2)> & $id \u2028 \x00"
TOKENS = tuple(f" t{number}" for number in range(40))


def passes(width: int) -> tuple[Pass, ...]:
    starts = range(0, len(TOKENS), width)
    return tuple(Pass("step", tuple(range(s, min(s + width, len(TOKENS)))), (0.5,) * width) for s in starts)


@pytest.fixture
def page():
    one = Scene("1: short", "say it", (Replay("ar", TOKENS, passes(1)), Replay("lookup", TOKENS, passes(4))))
    long = ("x" * 200, HOSTILE, "\n")
    two = Scene(HOSTILE, HOSTILE, (Replay(HOSTILE, long, (Pass(HOSTILE, (0, 1, 2)),)),))
    return render([one, two], title="Decoding <here>", subtitle=HOSTILE, speed=7)


class Elements(HTMLParser):
    """The elements of a page by tag, and whether all are closed."""

    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_complete_in_itself_and_well_formed(page):
    found = Elements()
    found.feed(page)
    assert found.open == []
    metas = [attrs for tag, attrs in found.seen if tag == "meta"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert any(attrs.get("content", "").startswith("default-src 'none'") for attrs in metas)
    for _, attrs in found.seen:
        assert not {"src", "href", "srcset", "action", "background"} & set(attrs)
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_hostile_text_stays_text(page):
    found = Elements()
    found.feed(page)
    assert not [tag for tag, _ in found.seen if tag == "img"]
    assert len([tag for tag, _ in found.seen if tag == "script"]) == 2, "the data and the player"
    start = page.index('class="data">') + len('class="data">')
    scenes = json.loads(page[start : page.index("</script>", start)])
    assert scenes[1]["prompt"] == scenes[1]["title"] == HOSTILE
    assert scenes[1]["replays"][0]["tokens"][1] == HOSTILE


def test_figures_stand_in_a_table_for_those_without_scripts(page):
    assert '<th scope="row">1: short</th><td>lookup</td><td>40</td><td>10</td><td>4.00</td>' in page


def test_a_scene_shows_itself_in_a_notebook():
    scene = Scene("one", "p", (Replay("ar", ("a",), (Pass("step", (0,)),)),))
    assert scene._repr_html_().startswith('<section class="ar-replay"')
    assert 'data-keys="section"' in scene._repr_html_()


KEYS = """
  const count = () => page.querySelector(".count").textContent;
  const seen = [count()];
  for (const key of ["Home", "ArrowRight", "ArrowRight", "ArrowLeft", "End", "2", "1"]) { press(key); seen.push(count()); }
  press("Home");
  page.querySelectorAll(".text")[1].children[5].click();
  seen.push(count(), page.querySelector(".told").textContent);
  seen.push(page.querySelector(".speed").value);
  press("+");
  seen.push(page.querySelector(".speed").value);
  press(" ");
  seen.push(page.querySelector(".play").textContent);
  press(" ");
  seen.push(page.querySelector(".play").textContent);
  return seen;
"""


def test_in_a_browser_the_keyboard_moves_it(page, tmp_path):
    found = visit(page, tmp_path, width=1280, script=KEYS)
    assert found.troubles == []
    assert found.asked[:6] == [f"pass {at} of 40" for at in (40, 0, 1, 2, 1, 40)]
    assert found.asked[6:8] == ["pass 0 of 1", "pass 0 of 40"]
    assert found.asked[8:10] == ["pass 2 of 40", "token 6 · pass 2 · step · confidence 0.500"]
    assert found.asked[10:] == ["8", "16", "Pause", "Play"]


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_nothing_is_wider_than_the_window(page, tmp_path, width):
    found = visit(page, tmp_path, width=width, script='press("2"); return page.documentElement.scrollWidth;')
    assert found.troubles == []
    assert found.beyond == []
    assert found.content == found.width == width
    assert found.asked == width, "with a token of 200 characters and hostile names"
