// Elements out of names and texts. Whatever the API says enters the document here, as text and never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** h("p", {class: "x", onclick: f}, "text", child): strings become text nodes; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value); // the attribute is what the policy forbids
    else setAttribute(element, name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Touches the document only when something changes, so that an idle page costs nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** `true` sets an empty attribute; `null` and `false` take it away. Those of ARIA have the words true and false. */
export function setAttribute(element, name, value) {
  if (typeof value === "boolean" && name.startsWith("aria-")) value = String(value);
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Replaces the children when `signature` is another one than last time; says whether it did. */
export function redraw(element, signature, make) {
  const text = JSON.stringify(signature);
  if (element.drawn === text) return false;
  element.drawn = text;
  element.replaceChildren(...[make()].flat().filter((child) => child));
  return true;
}

/** One child per item, in order. The element of a key stays the same one, and with it focus and open details. */
export function keyed(parent, items, keyOf, make, update) {
  const known = parent.childrenByKey ?? new Map();
  const next = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const element = known.get(key) ?? make(item);
    next.set(key, element);
    update?.(element, item);
  }
  for (const [key, element] of known) if (!next.has(key)) element.remove();
  let place = parent.firstElementChild;
  for (const element of next.values()) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  parent.childrenByKey = next;
}

export const byId = (id) => document.getElementById(id);
