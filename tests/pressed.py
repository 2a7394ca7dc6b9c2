"""What is pressed, in a page as Chromium draws it: its box, and its name as a screen reader says it.

WCAG 2.2 §2.5.8 (44 px for buttons is ours), §2.4.9 and §2.4.6: out of its context too, a name says what is done and to
whom, so that a list of links or buttons can be read by itself.
"""

from playwright.async_api import Page

from tests.browser import axe_source

NARROW = 360
"""A telephone's width, in CSS pixels."""

LEAST = 24
LEAST_OF_A_BUTTON = 44

MEASURE = """
([least, leastOfAButton]) => [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
  .filter(one => one.type !== 'hidden' && one.tabIndex >= 0 && one.checkVisibility({visibilityProperty: true}))
  .flatMap(one => {
    // A link that wraps has a box on each of its lines.
    const height = Math.min(...[...one.getClientRects()].map(line => line.height));
    const width = one.getBoundingClientRect().width;
    const wanted = one.matches('button, .button') ? leastOfAButton : least;
    return Math.min(width, height) < wanted - 0.01
      ? [`${one.outerHTML.slice(0, 120)} is ${width.toFixed(1)} × ${height.toFixed(1)}`] : [];
  })
"""


async def too_small(page: Page) -> list[str]:
    """What is too small to press on a telephone, by its own box: no spacing, no exception for a link in a sentence."""
    await page.set_viewport_size({"width": NARROW, "height": 800})
    return await page.evaluate(MEASURE, [LEAST, LEAST_OF_A_BUTTON])


NAMES = """
source => {
  if (!window.axe) (0, eval)(source);
  axe.setup(document.body);
  const told = [...document.querySelectorAll('a[href], button, summary')]
    .filter(one => one.checkVisibility({visibilityProperty: true}))
    .map(one => {
      const name = axe.commons.text.accessibleText(one).replace(/\\s+/g, ' ').trim();
      const posts = form => `${form.action} ${one.value} ${new URLSearchParams(new FormData(form))}`;
      return [name, one.href ?? (one.form ? posts(one.form) : one.id)];
    });
  axe.teardown();
  return told;
}
"""


async def alike(page: Page) -> list[str]:
    """Names that are empty, or that two things bear which do not lead to the same. Scripts run in `page`."""
    leads: dict[str, set[str]] = {}
    for name, to in await page.evaluate(NAMES, axe_source()):
        leads.setdefault(name.casefold(), set()).add(to)
    return [f"« {name} » leads to {sorted(to)}" for name, to in leads.items() if not name or len(to) > 1]
