"""docs/events.md: every link on it leads somewhere, and the map shows who hears what."""

import re
from pathlib import Path

from cairn.events import ALL_SERVICES, CATALOGUE, TOPICS
from cairn.events.hearing import HEARD

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/events.md"
PAGE = FILE.read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
MAP = PAGE.partition("```mermaid")[2].partition("```")[0]


def as_node(who: str) -> str:
    return who.replace("-", "_")


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADINGS}
    linked = set(re.findall(r"\]\(#([^)]*)\)", PAGE))
    assert len(linked) > len(CATALOGUE)
    assert linked <= anchors


def test_every_link_out_of_the_page_leads_to_a_file() -> None:
    for target in set(re.findall(r"\]\((\.\./[^)]*)\)", PAGE)):
        assert (FILE.parent / target).exists(), target


def test_no_two_headings_share_an_address() -> None:
    assert len(set(HEADINGS)) == len(HEADINGS)


def test_every_type_has_its_section() -> None:
    assert set(CATALOGUE) <= set(HEADINGS)


def test_the_map_shows_everybody() -> None:
    for who in (*ALL_SERVICES, "serving", "upstream", "people"):
        assert re.search(rf"^ +{as_node(who)}[\[(]", MAP, re.MULTILINE), who


def test_the_map_has_an_arrow_for_every_topic_to_everyone_who_hears_it() -> None:
    arrows = re.findall(r'^ +(\w+) -.*?->\|"([^"]*)"\| (\w+)$', MAP, re.MULTILINE)
    arrows += re.findall(r'^ +(\w+) -->\|"([^"]*)"\| (\w+)$', MAP, re.MULTILINE)
    drawn = {(teller, topic, hearer) for teller, topics, hearer in arrows for topic in topics.split("<br/>")}
    heard = {
        (as_node(TOPICS[topic].owner), topic, as_node(hearer)) for hearer, topics in HEARD.items() for topic in topics
    }
    assert drawn == heard


def test_personal_fields_are_marked() -> None:
    marked = {line.split(" | ")[0] for line in PAGE.splitlines() if re.match(r"\| `\w+`\?? \|.*\| yes \|", line)}
    assert marked >= {"| `entity`?", "| `features`"}


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
