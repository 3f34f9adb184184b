"""The book by keyboard: one page of each kind, from the first key to the last."""

import pytest
import site_checks
from playwright.sync_api import Page

# The first page with its scene and ways on, a chapter with folds and a model that runs, the ledger.
CHAPTER = "book/papyan-han-donoho/01-measure-your-network.html"
KINDS = ("book/index.html", CHAPTER, "book/ledger.html")
PRESSES = """() => {
    const can = 'a[href], button, input, select, textarea, summary, [tabindex], iframe';
    const seen = {visibilityProperty: true};
    const radio = (one) => one.type === "radio" && !one.checked &&
        document.querySelector(`input[type=radio][name="${one.name}"]:checked`);
    const all = [...document.querySelectorAll(can)].filter((one) => one.tabIndex >= 0 &&
        !one.disabled && !one.closest("[inert]") && one.checkVisibility(seen) && !radio(one));
    window.ncbKeys = all.map((one) => ({one, before: null, reached: false, shown: false}));
    const looks = (one) => [one, one.parentElement, ...one.children].map((node) => {
        const how = getComputedStyle(node);
        return [how.outline, how.boxShadow, how.borderColor, how.backgroundColor, how.color,
            how.textDecoration, how.opacity, how.clipPath, how.transform].join();
    }).join("|");
    for (const key of window.ncbKeys) key.before = looks(key.one);
    window.ncbLook = () => {
        const now = document.activeElement;
        const key = window.ncbKeys.find((key) => key.one === now);
        if (!key) return now === document.body ? "out" : "other";
        if (key.reached) return "again";
        key.reached = true;
        // A style may come by and by.
        for (const motion of document.getAnimations())
            if (motion.effect?.getComputedTiming().endTime < Infinity) motion.finish();
        const inSight = [now, ...now.children].map((part) => part.getBoundingClientRect())
            .some((box) => box.bottom > 0 && box.top < innerHeight && box.width * box.height > 0);
        key.shown = inSight && looks(now) !== key.before;
        return "one";
    };
    return all.length;
}"""
FAULTS = """() => {
    const words = (one) => one.outerHTML.replace(/\\s+/g, " ").slice(0, 120);
    return window.ncbKeys.flatMap(({one, reached, shown}) =>
        !reached ? [`the tabulator does not reach ${words(one)}`] :
        !shown ? [`nothing shows that the focus is at ${words(one)}`] : []);
}"""


def faults(tab: Page) -> list[str]:
    """Go through a page by the tabulator; say what is not reached, or not seen when it is."""
    many = tab.evaluate(PRESSES)
    for _ in range(2 * many + 20):
        tab.keyboard.press("Tab")
        if tab.evaluate("ncbLook()") in ("out", "again"):
            return tab.evaluate(FAULTS)
    return ["the focus never leaves the page"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_page_is_reached_and_seen(kind, tab, address):
    tab.goto(address + kind)
    site_checks.settle(tab)
    assert faults(tab) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="#">a</a><button>b</button><input aria-label="c">', None),
        ('<a href="#">a</a><button style="outline: none">b</button>', "nothing shows"),
        ('<a href="#">a</a><button onfocus="blur()">b</button>', "does not reach"),
        (
            '<button onkeydown="event.preventDefault()">a</button><a href="#">b</a>',
            "does not reach",
        ),
    ],
)
def test_what_a_keyboard_cannot_do_is_reported(tab, body, said):
    tab.set_content(f"<!DOCTYPE html><p>{body}</p>")
    found = faults(tab)
    assert not found if said is None else any(said in one for one in found)


def test_the_first_key_leads_past_the_navigation(tab, address):
    tab.goto(address + CHAPTER)
    site_checks.settle(tab)
    tab.keyboard.press("Tab")
    assert "Skip to main content" in tab.evaluate("document.activeElement.textContent")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_fold_opens_and_closes_by_a_key(key, tab, address):
    tab.goto(address + CHAPTER)
    site_checks.settle(tab)
    folds = tab.locator("main details > summary:visible")
    assert folds.count() > 3
    for fold in (folds.first, folds.last):
        fold.focus()
        opened = "(fold) => fold.parentElement.open"
        before = fold.evaluate(opened)
        tab.keyboard.press(key)
        assert fold.evaluate(opened) is not before
        tab.keyboard.press(key)
        assert fold.evaluate(opened) is before
