"""What can be measured of a page's accessibility (WCAG 2.2): contrast, names and roles, focus, width."""

from typing import Final

from playwright.sync_api import Page

_FIND_FLAWS: Final = """() => {
  const flaws = [];
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a)).concat(1);
  const backOf = (element) => {
    if (!element) return [255, 255, 255, 1];
    const style = getComputedStyle(element);
    const own = read(style.backgroundColor);
    if (own[3] === 1) return own;
    return over(own, backOf(element.parentElement));
  };
  const luminance = (colour) => {
    const bend = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((value) => bend(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}#${element.id}`;

  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !isSeen(element) || element.closest("noscript, .skip, .unseen")) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const back = backOf(element);
    const ink = over(read(element.namespaceURI.endsWith("svg") ? style.fill : style.color), back);
    const [low, high] = [luminance(ink), luminance(back)].sort((one, other) => one - other);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (ratio < least) flaws.push(`${name(element)} "${text.slice(0, 30)}": contrast ${ratio.toFixed(2)}`);
    if (size < 11) flaws.push(`${name(element)} "${text.slice(0, 30)}": ${size} px is too small to read`);
  }
  if (texts < 50) flaws.push(`only ${texts} texts are to be seen: too few to have looked at the page`);

  const all = (selector) => [...document.querySelectorAll(selector)];
  const spoken = (element) => (element.getAttribute("aria-label") || element.innerText || "").trim();
  for (const element of all("a, button, summary, [role=option], [role=img], [tabindex]"))
    if (isSeen(element) && !spoken(element) && element.clientHeight) flaws.push(`${name(element)} has no name`);
  for (const image of all("img")) if (!image.hasAttribute("alt")) flaws.push("a picture has no alt");
  for (const option of all("[role=option]"))
    if (!option.closest("[role=listbox]") || !option.ariaSelected) flaws.push("an option is in no list");
  for (const attribute of ["aria-labelledby", "aria-describedby"])
    for (const element of all(`[${attribute}]`))
      if (!document.getElementById(element.getAttribute(attribute))) flaws.push(`${name(element)} has a false name`);
  const ids = all("[id]").map((element) => element.id);
  if (new Set(ids).size !== ids.length) flaws.push("an id is there twice");
  const levels = all("h1, h2, h3, h4").filter(isSeen).map((element) => Number(element.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) flaws.push("there is not one h1");
  levels.reduce((before, level) => (level > before + 1 && flaws.push(`h${level} follows h${before}`), level));
  if (!document.documentElement.lang) flaws.push("the language is not told");
  if (document.querySelectorAll("main").length !== 1) flaws.push("there is not one main");
  if (!document.querySelector("[aria-live]")) flaws.push("nothing is announced");
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) flaws.push(`the page is ${wide} px wider than the window`);
  return [...new Set(flaws)];
}"""


def find_flaws(page: Page) -> list[str]:
    """Everything that is wrong with what is shown now; empty when nothing is."""
    flaws: list[str] = page.evaluate(_FIND_FLAWS)
    return flaws
