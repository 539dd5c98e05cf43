/** What the journal knows of one provider or consumer: its history, and when it last changed. */

import { request } from "../api.js";
import { ago, count, fill, h, say, several } from "../dom.js";
import { href } from "../router.js";
import { changeLine, changeView, clock, learnNames, who } from "./change.js";
import { problem, waiting } from "./elements.js";

const PAGE = 20;
const MOST = 500;
const AT_A_TIME = 4;

/** Why there is no history to show, in words; null for another error. */
export function withoutJournal(error) {
  if (error.status === 403) return h("p", { class: "soft" }, "This token may not read histories.");
  if (error.status === 404) return h("p", { class: "soft" }, "This service keeps no journal. ", h("a", { href: "changes" }, "How to switch it on"), ".");
  return null;
}

/**
 * The history of a provider or a consumer, the newest first, in pages. `kind` is a part of the API's paths:
 * `providers` or `claims`. `known(changes, begins)` hears the first page.
 */
export function historyPanel(kind, id, { tree = "", heading = "History", known = () => {} } = {}) {
  const list = h("ol", { class: "changes" }), end = h("div", { class: "soft" });
  const read = async before => {
    fill(end, waiting("Reading the history…"));
    try {
      const { data } = await request(`moorage/v1/${kind}/${encodeURIComponent(id)}/history`,
        { query: { limit: PAGE, ...(tree && { tree }), ...(before && { before }) } });
      await learnNames(data.changes);
      const items = data.changes.map(one => item(one, id));
      list.append(...items);
      if (!before) known(data.changes, data.next_before ?? data.begins);
      if (before) {
        items[0]?.querySelector("summary").focus();
        say(`${several(items.length, "earlier change")} shown.`);
      }
      fill(end, ending(data, list.children.length));
    } catch (error) {
      fill(end, withoutJournal(error) ?? problem(error, () => read(before)));
    }
  };
  const ending = ({ next_before: next, begins }, shown) => {
    if (!next) return shown ? `The journal begins with revision ${count(begins)}.` : `Nothing is recorded of it. The journal begins with revision ${count(begins)}.`;
    if (shown >= MOST)
      return [`${count(MOST)} changes are shown. `, h("a", { href: href("changes", { before: next, ...(kind === "claims" ? { consumer: id } : { tree: tree || id }) }) }, "Go on on the page Changes")];
    return h("button", { type: "button", class: "quiet", onclick: () => read(next) }, "Earlier changes");
  };
  read();
  return h("section", { class: "panel", "aria-label": "History" }, h("h2", {}, heading), list, end);
}

/** A change that opens in its place. */
function item(change, about) {
  const body = h("div", { class: "opened" });
  return h("li", {}, h("details", { ontoggle: event => { if (event.target.open && !body.hasChildNodes()) fill(body, changeView(change), permalink(change)); } },
    h("summary", {}, h("span", { class: "when" }, clock(change.at)), h("code", {}, change.kind), h("span", { class: "what" }, changeLine(change, { about, plain: true })),
      h("span", { class: "faint" }, who(change))), body));
}

const permalink = change => h("p", {}, h("a", { href: href("changes", { change: change.revision }) }, "Open it on the page Changes"));

/* When something last changed: asked once it is in sight, a few at a time */

let journalIsSilent = false;
let asking = 0;
const queue = [];

export const askAgain = () => { journalIsSilent = false; };

const sight = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    queue.push(target);
  }
  next();
});

function next() {
  while (queue.length && asking < AT_A_TIME) {
    const element = queue.shift();
    if (!element.isConnected) continue;
    if (journalIsSilent) { fill(element, unknown()); continue; }
    asking += 1;
    look(element).finally(() => { asking -= 1; next(); });
  }
}

async function look(element) {
  const { kind, id, tree } = element.about;
  try {
    const { data } = await request(`moorage/v1/${kind}/${encodeURIComponent(id)}/history`, { query: { limit: 1, view: "refs", ...(tree && { tree }) } });
    fill(element, lastChangeWords(data.changes[0], data.next_before ?? data.begins));
  } catch (error) {
    // Neither will change while this page is shown, and nobody has asked for it.
    if (error.status === 403 || error.status === 404) journalIsSilent = true;
    fill(element, unknown());
  }
}

/** Time and revision of a change, or the revision before which it must have been. */
export const lastChangeWords = (change, begins) => (change
  ? [h("a", { href: href("changes", { change: change.revision }), title: `Revision ${change.revision}: ${change.kind}` }, ago(change.at)), h("span", { class: "faint" }, ` rev. ${count(change.revision)}`)]
  : h("span", { class: "faint" }, `before rev. ${count(begins)}`));

const unknown = () => h("span", { class: "faint" }, "not recorded");

/** When a provider or a consumer last changed, once the journal has told it. */
export function lastChange(kind, id, { tree = "" } = {}) {
  const element = h("span", { class: "last" });
  element.about = { kind, id, tree };
  sight.observe(element);
  return element;
}
