"""Negative controls: small broken pages, each of which the site's checks must report."""

import pytest
import site_checks

GOOD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"></head>
<body><main><h1 id="top">A page</h1><p>Some words. <a href="#top">Up</a></p>{}</main></body></html>
"""
PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.fixture
def look(visitor, tmp_path, axe, request):
    """Visit a page with this in it; only a test that needs the engine looks with it."""
    axe = axe if "needs_axe" in request.fixturenames else None

    def looked(body: str) -> site_checks.Visit:
        (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
        with site_checks.served(tmp_path) as address:
            return site_checks.visit(visitor, address, "index.html", axe)

    return looked


def test_good_page_passes(look, needs_axe):
    found = look(f'<img src="{PICTURE}" alt="A dot"><pre style="overflow:auto">{"x" * 400}</pre>')
    # The box that scrolls cannot be reached by keyboard here; site.js sees to that in the book.
    found.inaccessible = [said for said in found.inaccessible if "scrollable-region" not in said]
    assert found == site_checks.Visit()


def test_missing_image_is_reported(look):
    found = look('<img src="gone.png" alt="A picture">')
    assert found.broken_images == ["the image gone.png does not load"]
    assert found.errors, "the browser says so too"


def test_missing_words_are_reported(look):
    found = look(f'<img src="{PICTURE}"><svg width="9" height="9"><path d="M0 0h9"/></svg>')
    assert len(found.without_words) == 2


def test_a_picture_beside_its_link_needs_no_words(look):
    entry = f'<ul class="{{}}"><li><img alt="" src="{PICTURE}"><a href="#">where to</a></li></ul>'
    assert not look(entry.format("ncb-gallery")).without_words
    assert look(entry.format("other")).without_words


def test_empty_label_is_reported(look):
    assert look('<svg role="img" aria-label=" " width="9" height="9"></svg>').without_words


def test_request_to_another_host_is_reported(look):
    found = look('<script src="http://content.example/script.js"></script>')
    assert found.elsewhere == ["it asks for http://content.example/script.js"]


def test_late_request_to_another_host_is_reported(look):
    found = look("<script>setTimeout(() => fetch('http://content.example/x'), 10)</script>")
    assert found.elsewhere == ["it asks for http://content.example/x"]


def test_console_error_is_reported(look):
    assert look('<script>console.error("broken")</script>').errors == ["broken"]


def test_exception_is_reported(look):
    assert any("undefined_name" in said for said in look("<script>undefined_name</script>").errors)


def test_wide_element_is_reported(look):
    assert look('<div style="width:600px">wide</div>').too_wide


def test_wide_element_that_is_cut_off_is_reported(look):
    body = '<div style="overflow:hidden"><table style="width:600px"><tr><td>a</table></div>'
    assert look(body).too_wide


def test_what_only_a_wide_font_makes_too_wide_is_reported(look):
    body = f'<p style="font: 16px sans-serif; white-space: nowrap">{"i" * 50}</p>'
    found = look(body).too_wide
    assert found and all(said.startswith("wide font: ") for said in found)


def test_low_contrast_is_reported(look):
    found = look('<p style="color:#ccc;background:#fff">hard to read</p>').faint
    assert len(found) == 4 and found[-1].startswith("light: contrast 1.61")


def test_only_what_shows_text_needs_contrast(look):
    field = '<input type="{}" value="5" style="color:#ccc;background:#fff">'
    assert look(field.format("number")).faint
    assert not look(field.format("range")).faint


def test_low_contrast_in_the_dark_alone_is_reported(look):
    found = look(
        "<style>@media (prefers-color-scheme: dark) {p {background: #000; color: #333}}</style>"
        "<p>hard to read at night</p>"
    ).faint
    assert found and all(said.startswith("dark") for said in found)


ZOOMED = "<style>@media (min-width: 500px) and (max-width: 800px) {{{}}}</style>"


def test_what_is_wrong_at_200_percent_alone_is_reported(look):
    found = look(ZOOMED.format("div {width: 700px}") + "<div>wide</div>").too_wide
    assert found and all(said.startswith("at 200 %") for said in found)
    found = look(ZOOMED.format("p {color: #ccc; background: #fff}")).faint
    assert len(found) == 2 and all("at 200 %" in said for said in found)


def test_what_cannot_be_reached_at_200_percent_alone_is_reported(look, needs_axe):
    box = f"<div>{'x' * 100}</div>"
    found = look(ZOOMED.format("div {width: 9em; overflow: auto}") + box).inaccessible
    assert len(found) == 1 and found[0].startswith("at 200 %: scrollable-region-focusable")


@pytest.mark.parametrize(
    ("readable", "body"),
    {
        "grey": (False, '<p style="color:#777;background:#fff">text</p>'),
        "grey enough": (True, '<p style="color:#757575;background:#fff">text</p>'),
        "large": (True, '<p style="color:#777;background:#fff;font-size:24px">text</p>'),
        "bold": (True, '<p style="color:#777;background:#fff;font:bold 19px serif">text</p>'),
        "see-through": (False, '<p style="color:rgba(0,0,0,0.5);background:#fff">text</p>'),
        "faded": (False, '<p style="color:#000;background:#fff;opacity:0.4">text</p>'),
        "faded ground": (False, '<div style="background:#000"><p style="color:#888;'
                         'background:rgba(255,255,255,0.5)">text</p></div>'),
        "two grounds": (True, '<div style="background:#fff"><p style="color:#fff;'
                        'background:rgba(0,0,0,0.6)">text</p></div>'),
        "mixed": (False, '<p style="color:color-mix(in srgb, #000 40%, #fff);'
                  'background:#fff">text</p>'),
        "hidden": (True, '<p style="color:#fff;background:#fff;visibility:hidden">text</p>'),
        "disabled": (True, '<button disabled style="color:#ccc;background:#fff">text</button>'),
        "select": (False, '<select aria-label="a" style="color:#ccc;background:#fff">'
                   '<option>text</select>'),
        "input": (False, '<input aria-label="a" value="text" style="color:#ccc;background:#fff">'),
        "card": (False, '<div style="background:linear-gradient(red,blue)">'
                 '<p style="color:#ccc;background:#fff">text</p></div>'),
        "inherited": (False, '<div style="color:#999;background:#fff"><p><em>text</em></p></div>'),
    }.values(),
)  # fmt: skip
def test_contrast_is_judged_as_the_engine_judges_it(tab, tmp_path, axe, needs_axe, readable, body):
    (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
    with site_checks.served(tmp_path) as address:
        tab.goto(address)
        found = tab.evaluate(site_checks._FAINT)
        tab.evaluate(axe)
        engine = tab.evaluate(
            """async () => (await axe.run(document, {runOnly: ["color-contrast"]})).violations"""
        )
    assert (not found) == (not engine) == readable


def test_nameless_button_is_reported(look, needs_axe):
    assert any("button-name" in said for said in look("<button></button>").inaccessible)


# ---------------------------------------------------------------- files


def test_dead_links_are_reported(tmp_path):
    body = '<a href="gone.html">a</a> <a href="#nowhere">b</a> <a href="other.html#x">c</a>'
    (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
    (tmp_path / "other.html").write_text(GOOD.replace("{}", ""), encoding="utf-8")
    found = site_checks.dead_links(tmp_path)
    assert len(found) == 3
    assert "gone.html" in found[0] and "#nowhere" in found[1] and "other.html#x" in found[2]


def test_good_links_pass(tmp_path):
    body = '<a href="other.html#top">a</a> <a href="https://elsewhere.example/">b</a>'
    (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
    (tmp_path / "other.html").write_text(GOOD.replace("{}", ""), encoding="utf-8")
    assert site_checks.dead_links(tmp_path) == []
    assert site_checks.loads_from_elsewhere(tmp_path) == []


def test_image_on_another_host_is_reported(tmp_path):
    body = '<img src="//content.example/a.png" alt="A picture">'
    (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
    assert len(site_checks.loads_from_elsewhere(tmp_path)) == 1


def test_clashing_ids_are_reported(tmp_path):
    body = '<svg id="a"></svg><svg id="a"></svg>'
    (tmp_path / "index.html").write_text(GOOD.replace("{}", body), encoding="utf-8")
    assert site_checks.twice_used_ids(tmp_path) == ["index.html has the id 'a' 2 times"]
