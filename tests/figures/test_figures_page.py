"""The report in a real browser: two widths, light and dark, no complaint, samples, nothing interpreted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, chromium
from run_files import make_results, make_run

from figures.answer import sentences
from figures.command import figures
from figures.facts import Facts

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

ATTACK = "</script><script>window.attacked = 1</script><img src=x onerror=attacked=1><style>*{display:none}</style>"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def report(window: Browser, page: Path) -> Iterator[Browser]:
    """The report of the results, opened; no test may leave a complaint of the browser behind."""
    window.complaints.clear()
    window.open(page, width=1280)
    yield window
    assert window.complaints == []


@pytest.fixture(scope="module")
def page(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything."""
    out = tmp_path_factory.mktemp("page")
    figures(directory, out=out, formats=("png",))
    return out / "report.html"


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_clipped_at_two_widths_light_and_dark(report: Browser, page: Path, width: int, dark: bool) -> None:
    report.open(page, width=width, dark=dark)
    assert report.value("document.documentElement.scrollWidth") <= width
    # What is wider than the page can be scrolled to; all else ends inside it.
    outside = """[...document.querySelectorAll("body *")].filter(item =>
        item.getBoundingClientRect().right > innerWidth + 0.5 && !item.closest(".scroll > *, dialog"))
        .map(item => item.outerHTML.slice(0, 80))"""
    assert report.value(outside) == []
    wide = """[...document.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth)
        .every(box => getComputedStyle(box).overflowX === "auto")"""
    assert report.value(wide)
    colors = report.value("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    ink, ground = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert (ink > ground) == dark


def test_the_first_screen_is_the_answer(report: Browser, page: Path) -> None:
    told = report.value('[...document.querySelectorAll(".answer p")].map(part => part.textContent)')
    facts = Facts.from_json(json.loads((page.parent / "answer.json").read_text()))
    assert told == [sentence.replace("**", "") for sentence in sentences(facts)]
    assert len(told) == 3
    assert report.value('document.querySelector(".claims").getBoundingClientRect().top < innerHeight')
    assert report.value('document.querySelectorAll(".claims tbody tr").length') == 10


def test_contents_lead_to_every_part(report: Browser) -> None:
    places = report.value('[...document.querySelectorAll("nav a")].map(link => link.getAttribute("href"))')
    headings = report.value('[...document.querySelectorAll("h2, h3")].map(heading => "#" + heading.id)')
    assert places == headings
    assert len(set(places)) == len(places) > 10


def test_a_figure_opens_at_full_size(report: Browser, page: Path) -> None:
    report.value('document.querySelector("figure a").click()')
    assert report.value('document.querySelector("dialog").open')
    inside, shown = report.value(
        '[document.querySelector("dialog img"), document.querySelector("figure img")].map(image => image.naturalWidth)'
    )
    assert inside == shown > 500
    for link in report.value('[...document.querySelectorAll("figure a")].map(link => link.getAttribute("href"))'):
        assert (page.parent / link).exists()


def test_samples_are_shown_side_by_side_with_the_weight_of_every_token(report: Browser) -> None:
    heads = report.value('[...document.querySelectorAll("#browser h4")].map(head => head.textContent)')
    assert heads == ["GRPO", "F-ISFT±"]
    count = 'document.querySelectorAll("#browser .sides > div:first-child .response").length'
    assert report.value(count) == 4
    token = """(span => [span.textContent, span.title, getComputedStyle(span).backgroundColor])(
        document.querySelector("#browser .tokens span"))"""
    text, title, color = report.value(token)
    assert text == "3"
    # A right response of six tokens under GRPO with advantage 1: 1/6 a token.
    assert title == "+0.17"
    red, _, blue = map(int, re.findall(r"\d+", color)[:3])
    assert blue > red


@pytest.mark.parametrize(
    ("field", "value", "lengths"),
    [
        ("outcome", "correct", [6, 22]),
        ("outcome", "wrong", [14, 4]),
        ("shortest", "10", [22, 14]),
        ("longest", "4", [4]),
    ],
)
def test_samples_are_filtered(report: Browser, field: str, value: str, lengths: list[int]) -> None:
    choose = f"""(field => {{ field.value = "{value}"; field.dispatchEvent(new Event("input", {{bubbles: true}})); }})(
        document.querySelector("#browser [name={field}]"))"""
    report.value(choose)
    shown = report.value(
        """[...document.querySelectorAll("#browser .sides > div:first-child .about")].map(about => about.textContent)"""
    )
    assert [int(re.search(r"(\d+) tokens", about).group(1)) for about in shown] == lengths


def test_another_method_and_the_next_prompt_can_be_chosen(report: Browser) -> None:
    report.value(
        """(field => { field.selectedIndex = 2; field.dispatchEvent(new Event("input", {bubbles: true})); })(
        document.querySelector("#browser [name=right]"))"""
    )
    assert report.value('document.querySelectorAll("#browser h4")[1].textContent') == "F-ISFT⁻"
    before = report.value('document.querySelector("#browser .prompt").textContent')
    report.value('document.querySelector("#browser [name=next]").click()')
    assert report.value('document.querySelector("#browser .prompt").textContent') != before


def test_the_page_is_small_and_strict(page: Path) -> None:
    assert page.stat().st_size < 3_000_000
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r'\sstyle="|\son[a-z]+="', re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_hostile_files_run_nothing(window: Browser, tmp_path: Path) -> None:
    make_results(tmp_path, seeds=1, finals={"grpo": 0.5, "f-isft-pm": 0.4})
    make_run(tmp_path / "runs" / "extra", method="f-isft-pos")
    for path in tmp_path.rglob("config.json"):
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"title": config["method"] + ATTACK, "model": ATTACK, "task": ATTACK}))
    for path in tmp_path.rglob("samples.jsonl"):
        rows = [json.loads(line) | {"prompt": ATTACK} for line in path.read_text().splitlines()]
        rows = [row | {"tokens": [ATTACK, *row["tokens"][1:]]} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert figures(tmp_path, formats=("png",)) == 0
    window.complaints.clear()
    window.open(tmp_path / "report.html", width=1280)
    assert window.value("window.attacked") is None
    assert window.value('document.querySelector("#browser .tokens span").textContent') == ATTACK
    assert window.value("getComputedStyle(document.body).display") == "block"
    assert window.complaints == []
