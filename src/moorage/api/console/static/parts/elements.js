/** Elements that several pages use: bars, tables, states, errors. */

import { ApiError, mayWrite, newKey, request, strategyName } from "../api.js";
import { amount, count, cut, fill, h, percent, say, short } from "../dom.js";
import { href } from "../router.js";

/** The top of a page: its name, and what it is about. */
export const heading = (name, about, ...more) =>
  h("div", { class: "title" }, h("h1", {}, name), about && h("span", { class: "soft" }, about), more);

export const panel = (...children) => h("section", { class: "panel" }, children);

export const consumerLink = uuid => h("a", { href: href("consumer", { id: uuid }), class: "mono", title: uuid }, short(uuid));

/** A link to a provider in its tree; `named` is what `namesOf` found. */
export const providerLink = (uuid, named, most = 32) =>
  h("a", { href: href("tree", { id: uuid, mark: uuid }), title: uuid }, cut(named.get(uuid)?.name ?? short(uuid), most));

/** Words and values, one pair a line. */
export const definitions = pairs => h("dl", { class: "definitions" }, pairs.map(([word, value]) => [h("dt", {}, word), h("dd", {}, value)]));

/** The end of a list in pages: what is shown, and the ways to the first and the next page of `page`. */
export const pageLinks = (told, page, filters, next) => h("div", { class: "row pages" }, h("span", { class: "soft" }, told),
  filters.after && h("a", { href: href(page, { ...filters, after: "" }) }, "First page"),
  next && h("a", { href: href(page, { ...filters, after: next }) }, "Next page"));

/** A field of a filter. */
export const field = (label, attributes) => h("label", { class: "field" }, `${label} `, h("input", { type: "search", spellcheck: "false", ...attributes }));

/** A bar of what is used and reserved of a whole; the amounts must stand beside it as text. */
export function bar(used, whole, { reserved = 0, label = "", over = whole > 0 && used > whole } = {}) {
  const part = value => `${whole > 0 ? Math.min(100, (value / whole) * 100) : value > 0 ? 100 : 0}%`;
  return h(
    "div", { class: over ? "bar over" : "bar", role: "img", "aria-label": label || `${percent(used / whole)} used` },
    h("i", { style: { width: part(used) } }),
    reserved > 0 && h("i", { class: "reserved", style: { width: part(reserved) } }),
  );
}

/** A bar with its number. */
export const measure = (value, whole, text = count(value)) =>
  h("div", { class: "measure" }, bar(value, whole, { label: text, over: false }), h("span", {}, text));

/** Name, bar and words for a class of one inventory. */
export function amountRow(className, { used, total, reserved = 0, ratio = 1, capacity }) {
  const whole = capacity === undefined ? total * ratio : capacity + reserved * ratio;
  const room = capacity ?? Math.floor((total - reserved) * ratio);
  const words = [used === null ? amount(className, room) : `${count(used)} of ${amount(className, room)}`];
  const more = [
    reserved > 0 && `${amount(className, reserved)} reserved`,
    ratio !== 1 && `${amount(className, total)} × ${ratio}`,
  ].filter(Boolean);
  return h("div", { class: "amount" },
    h("span", { title: className }, className),
    used !== null && bar(used, whole, { reserved: reserved * ratio, label: `${className}: ${words[0]}`, over: used > room }),
    h("span", { class: "number" }, words[0], more.length > 0 && h("span", { class: "faint" }, ` · ${more.join(", ")}`)));
}

/** A table. Columns are `{title, number, wide}`; on a narrow window each row becomes a list. */
export function table(columns, rows, { caption = "" } = {}) {
  const kind = column => [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  return h(
    "div", { class: "scroll" },
    h("table", { class: "stack" },
      caption && h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map(column => h("th", { scope: "col", class: kind(column) }, column.title)))),
      h("tbody", {}, rows.map(row => h("tr", {}, row.map((cell, position) =>
        h("td", { class: kind(columns[position]), "data-label": position ? columns[position].title : null }, cell))))),
    ),
  );
}

export const waiting = (text = "Reading…") => h("p", { class: "waiting", role: "status" }, text);

/** What went wrong, with its request id, and a way to try again. */
export function problem(error, again) {
  const known = error instanceof ApiError;
  const title = known ? error.title : "The console has failed";
  if (!known) console.error(error);
  const detail = error.status === 403
    ? `${error.message} This token may not read this; another one may.` : error.message;
  const own = error.status === 403 && h("p", {}, "With a token of one project: ", h("a", { href: "search" }, "search"), " and ", h("a", { href: "consumer" }, "see its consumers"), ".");
  return h(
    "section", { class: "problem", role: "alert" },
    h("h2", {}, error.status ? `${title} (${error.status})` : title),
    detail && detail !== title && h("p", {}, detail),
    own,
    error.requestId && h("p", { class: "soft" }, "Request id ", h("code", {}, error.requestId)),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );
}

export const state = (title, ...children) => h("section", { class: "state" }, h("h2", {}, title), children);

/** An empty cloud, with the commands that fill it. */
export function emptyCloud() {
  const command = (words, text) => h("li", {}, h("p", {}, words), h("pre", {}, h("code", {}, text)));
  const header = strategyName() === "noauth2" ? "admin" : "$TOKEN";
  const address = new URL("../../", location.href.split(/[?#]/)[0]).href;
  return state(
    "There are no providers yet",
    h("p", {}, "One of three commands fills the cloud. This page shows it as soon as it is there."),
    h("ol", {},
      command("Load your hosts from a file:", "moorage load hosts.yaml"),
      command("Copy a running Placement:", "moorage import --from http://controller/placement"),
      command("Create a first provider:",
        `curl -X POST -H 'X-Auth-Token: ${header}' -H 'Content-Type: application/json' ` +
        `-d '{"name": "my-first-host"}' ${address}resource_providers`),
    ),
  );
}

/**
 * Shows what `read` gives, or the error with a way to try again. `show` makes elements of it. A later
 * call for the same element wins.
 */
export async function into(element, read, show) {
  const turn = (element.turn = (element.turn ?? 0) + 1);
  if (!element.hasChildNodes()) fill(element, waiting());
  try {
    const found = await read();
    if (element.turn === turn) fill(element, show(found));
  } catch (error) {
    if (error.name === "AbortError" || element.turn !== turn) return;
    fill(element, problem(error, () => { fill(element); into(element, read, show); }));
  }
}

/* By which an operator decides about something, if the service lets its console write */

/**
 * A row of buttons, none where the console only reads. Each choice is `[words, body]`, sent to `path`; after that
 * `done` is called.
 */
export function decisions(path, choices, done) {
  if (!mayWrite()) return null;
  const answer = h("div", { "aria-live": "polite" }), row = h("div", { class: "row" });
  const choose = async (words, body, key) => {
    for (const one of row.children) one.disabled = true;
    try {
      await request(path, { body, key });
      say(`${words}: done.`);
      done();
    } catch (error) {
      for (const one of row.children) one.disabled = false;
      fill(answer, problem(error, () => choose(words, body, error.status ? newKey() : key)));
    }
  };
  fill(row, choices.map(([words, body]) => h("button", { type: "button", class: "quiet", onclick: () => choose(words, body, newKey()) }, words)));
  return h("div", {}, row, answer);
}

/** A choice of a filter: one of several words, or any. */
export const chosenOf = (label, value, words, chosen) => h("label", { class: "field" }, `${label} `,
  h("select", { onchange: event => chosen(event.target.value) },
    h("option", { value: "" }, "any"),
    words.map(one => h("option", { value: one, selected: one === value }, one))));
