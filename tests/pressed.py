"""What is pressed, in a page as Chromium draws it: its box (WCAG 2.2 §2.5.8; 44 px for buttons is ours)."""

from playwright.async_api import Page

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
