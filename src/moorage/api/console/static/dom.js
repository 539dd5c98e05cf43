/** Makes elements. Text from data only ever becomes a text node. */

/**
 * An element. Attributes beginning with `on` are listeners, `text` is its text, `style` an object of
 * properties; null, undefined and false are left out.
 * @param {string} tag
 * @param {Object<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else if (name === "style")
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/** Replaces all children. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Says something to screen readers. */
export function say(text) {
  document.getElementById("spoken").textContent = text;
}

/** `act` once `milliseconds` have passed without another call. */
export function debounced(act, milliseconds) {
  let timer = 0;
  const later = (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...words), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const PART = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = number => WHOLE.format(number);

/** `1 tree`, `2 trees`. */
export const several = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

const UNIT = /_(KB|MB|GB|TB)$/;

/** An amount with the unit that the name of its class ends with. */
export function amount(className, number) {
  const unit = UNIT.exec(className);
  return unit ? `${WHOLE.format(number)} ${unit[1]}` : WHOLE.format(number);
}

const UNITS = ["KB", "MB", "GB", "TB", "PB", "EB"];
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A large amount in few characters, with a larger unit where its class has one. */
export function rounded(className, number) {
  let unit = UNITS.indexOf(UNIT.exec(className)?.[1]);
  if (unit < 0) return number < 1e6 ? WHOLE.format(number) : COMPACT.format(number);
  for (; number >= 10_240 && unit + 1 < UNITS.length; unit++) number /= 1024;
  return `${PART.format(number)} ${UNITS[unit]}`;
}

/** A share in percent; a small one that is not nothing is not shown as nothing. */
export function percent(share) {
  if (!Number.isFinite(share)) return share > 0 ? "over" : "–";
  const hundred = share * 100;
  if (hundred > 0 && hundred < 0.1) return "<0.1 %";
  return `${hundred < 10 && hundred % 1 ? PART.format(hundred) : WHOLE.format(Math.floor(hundred + 1e-9))} %`;
}

/** A long text with its middle left out; the whole of it belongs into a title. */
export function cut(text, most = 28) {
  if (text.length <= most) return text;
  const head = Math.ceil((most - 1) * 0.6);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}

/** An element with a text cut in the middle, and the whole text on hover. */
export const name = (text, most) => h("span", { class: "name", title: text }, cut(text, most));

export const short = uuid => uuid.slice(0, 8);

const SPANS = [[86400 * 365, "year"], [86400 * 30, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]];
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** A time in ISO 8601 as `3 days ago`, whole on hover. */
export function ago(time) {
  if (!time) return h("span", { class: "faint" }, "not known");
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const [span, unit] = SPANS.find(([length]) => Math.abs(seconds) >= length) ?? [60, "minute"];
  const text = Math.abs(seconds) < 60 ? "just now" : AGO.format(Math.round(seconds / span), unit);
  return h("time", { datetime: time, title: time }, text);
}
