/** The drawing of one tree: inventories as bars, traits, aggregates, and the holders of each provider. */

import { request } from "../api.js";
import { ago, amount, cut, fill, h, several, short } from "../dom.js";
import { href } from "../router.js";
import { amountRow, consumerLink, problem, table, waiting } from "./elements.js";
import { lastChange } from "./change.js";
import { endOf, forgetLeases } from "./lease.js";

const SHOWN_AT_ONCE = 6;
const HOLDERS = 100;
const SHOWN_TRAITS = 12;

/** All providers of the tree that a provider is in; none if it is not there. A member sees no amounts in use. */
async function readTree(id, signal) {
  try {
    const { data, revision } = await request(`moorage/v1/trees/${encodeURIComponent(id)}`, { signal });
    return { providers: data.providers.map(one => ({ used: {}, aggregates: [], ...one })), revision };
  } catch (error) {
    if (error.status === 404) return { providers: [] };
    throw error;
  }
}

/**
 * The tree as an element. `title` gets the root's name; `marked` is a provider to point at; `known` hears the
 * providers.
 */
export async function treeView(id, { title, marked = "", known = () => {}, signal } = {}) {
  const { providers, revision } = await readTree(id, signal);
  known(providers);
  forgetLeases();
  if (!providers.length) return h("p", { class: "soft" }, "There is no provider with this UUID.");
  const children = new Map();
  for (const one of providers) children.set(one.parent, [...(children.get(one.parent) ?? []), one]);
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  for (const list of children.values()) list.sort((one, other) => compare(one.name, other.name));
  const parents = new Map(providers.map(one => [one.uuid, one]));
  const root = providers.find(one => one.uuid === one.root);
  if (title) fill(title, root.name);
  const busy = providers.filter(isBusy);
  const atOnce = new Set(busy.slice(0, SHOWN_AT_ONCE).map(one => one.uuid));
  const branch = list => h("ul", { class: "tree" }, list.map(one =>
    h("li", {}, provider(one, parents, marked, atOnce), children.has(one.uuid) && branch(children.get(one.uuid)))));
  return h("div", {},
    h("p", { class: "soft" }, `${several(providers.length, "provider")} at revision ${revision}. `,
      isWhole(root) && h("a", { href: href("search", { in_tree: root.uuid }) }, "Search in this tree")),
    branch([root]));
}

/** Whether a provider is shown with what is used of it. */
const isWhole = one => "generation" in one;
const isBusy = one => (isWhole(one) ? Object.values(one.used).some(Boolean) : Object.keys(one.inventories).length > 0);

function provider(one, parents, marked, atOnce) {
  const names = Object.keys(one.inventories).sort();
  return h("div", { class: one.uuid === marked ? "provider marked" : "provider", id: `p-${one.uuid}` },
    h("div", { class: "row" },
      h("strong", { title: one.uuid }, shorter(one.name, parents.get(one.parent)?.name)),
      h("span", { class: "faint", title: one.uuid }, [short(one.uuid), ...(isWhole(one) ? [`generation ${one.generation}`] : [])].join(" · ")),
      isWhole(one) && h("span", { class: "faint" }, "changed ", lastChange("providers", one.uuid, { tree: one.root }), " · ",
        h("a", { href: href("tree", { id: one.root, history: one.uuid }), "aria-label": `History of ${one.name}` }, "History"))),
    names.length > 0 && h("div", { class: "amounts" }, names.map(className => {
      const inventory = one.inventories[className];
      return amountRow(className, {
        used: isWhole(one) ? one.used[className] ?? 0 : null, total: inventory.total, reserved: inventory.reserved, ratio: inventory.allocation_ratio,
      });
    })),
    one.traits.length > 0 && traits(one.traits),
    one.aggregates.length > 0 && h("div", { class: "faint", title: one.aggregates.join("\n") },
      `In ${several(one.aggregates.length, "aggregate")}: ${one.aggregates.slice(0, 4).map(short).join(", ")}`),
    isBusy(one) && holders(one, atOnce.has(one.uuid)));
}

/** A child's name without the beginning that it shares with its parent, which stands above it. */
function shorter(text, parent) {
  const rest = parent && text.startsWith(parent) ? text.slice(parent.length).replace(/^[-._:/]+/, "") : "";
  return cut(rest || text, 44);
}

function traits(names) {
  const chip = one => h("a", { class: "chip", href: href("classes", { trait: one }), title: `Capacity with ${one}` }, one);
  const box = h("div", { class: "chips" }, names.slice(0, SHOWN_TRAITS).map(chip));
  const rest = names.slice(SHOWN_TRAITS);
  if (rest.length) {
    const more = h("button", { type: "button", class: "bare", onclick: () => { more.replaceWith(...rest.map(chip)); } },
      `and ${rest.length} more`);
    box.append(more);
  }
  return box;
}

function holders(one, atOnce) {
  const box = h("div", { class: "holders" });
  const read = async () => {
    fill(box, waiting("Reading holders…"));
    try {
      const { data } = await request("moorage/v1/claims", { query: { provider: one.uuid, limit: HOLDERS } });
      fill(box, data.claims.length === 0 ? "Nothing is held here any more." : holderTable(data, one));
    } catch (error) {
      fill(box, error.status === 403 ? h("span", { class: "faint" }, "This token may not see the holders.") : problem(error, read));
    }
  };
  if (atOnce) read();
  else fill(box, h("button", { type: "button", class: "bare", onclick: read }, "Show the holders"));
  return box;
}

function holderTable(data, one) {
  const rows = data.claims.map(claim => [
    consumerLink(claim.consumer),
    held(claim.providers[one.uuid]?.resources ?? claim.providers[one.uuid] ?? {}),
    h("a", { href: href("consumer", { project: claim.project_id }), title: claim.project_id }, cut(claim.project_id, 14)),
    ago(claim.since), lastChange("claims", claim.consumer), endOf(claim.lease),
  ]);
  return [table([{ title: "Held by" }, { title: "Amounts" }, { title: "Project" }, { title: "Since" }, { title: "Last change" }, { title: "Ends" }], rows),
    data.next && h("p", { class: "faint" }, `The first ${data.claims.length} are shown.`)];
}

export const held = resources =>
  Object.entries(resources).sort().map(([className, number]) => `${className} ${amount(className, number)}`).join(", ");
