/** Why a request finds nothing: verdict, constraints, nearest misses, relaxations. */

import { ago, amount, count, cut, h, several, short } from "../dom.js";
import { href } from "../router.js";
import { consumerLink, measure, table } from "./elements.js";
import { held } from "./tree.js";

const VERDICTS = {
  fits: "It fits",
  no_room: "No room now",
  never_fits: "It can never fit here",
  nobody_offers: "Not offered anywhere",
  cut_short: "Not decided",
  limit_exceeded: "Beyond a limit",
  group_violated: "Against a rule of its group",
  reserved: "The room is reserved",
};

/** A constraint in words. */
export function words(term) {
  const group = term.group ? ` in group ${term.group}` : "";
  const any = (list = [], shown = one => one) => list.map(shown).join(" or ");
  switch (term.kind) {
    case "room": return `${term.resource_class} ${amount(term.resource_class, term.amount)}${group}`;
    case "required": return `has ${any(term.traits)}${group}`;
    case "forbidden": return `has no ${any(term.traits)}${group}`;
    case "member_of": return `in aggregate ${any(term.aggregates, short)}${group}`;
    case "not_member_of": return `not in aggregate ${any(term.aggregates, short)}${group}`;
    case "in_tree": return `in the tree of ${short(term.in_tree ?? "")}${group}`;
    case "root_required": return `root has ${any(term.traits)}`;
    case "root_forbidden": return `root has no ${any(term.traits)}`;
    case "together": return rule(term);
    default: return term.kind;
  }
}

function rule(term) {
  const groups = (term.groups ?? []).map(one => one || "the unsuffixed group").join(", ");
  switch (term.rule) {
    case "isolate": return `no two of ${groups || "the groups"} on one provider`;
    case "same_subtree": return `${groups} in one subtree`;
    case "one_provider_per_tree": return `${groups} of one provider in each tree`;
    case "sum": return `${term.resource_class || "amounts"} of ${groups || "all groups"} together`;
    default: return (term.rule ?? "between the groups").replaceAll("_", " ");
  }
}

/** The explanation as elements. `apply(relaxation)` changes the ask; without it there are no buttons. */
export function explanationView(found, apply) {
  const { constraints = [], nearest = [], relaxations = [], notes = [], unlocked_by: unlocked = [] } = found;
  const named = namesIn(nearest);
  return h("div", {},
    h("section", { class: found.verdict === "fits" ? "verdict fits" : "verdict", "aria-label": "Verdict" },
      h("h2", {}, VERDICTS[found.verdict] ?? found.verdict.replaceAll("_", " ")),
      h("p", {}, found.summary ?? summary(found)),
      found.exact === false && h("p", { class: "warm" }, "The search was cut short: counts are lower bounds.")),
    relaxations.length > 0 && h("section", { class: "panel" }, h("h2", {}, "What would fit"),
      h("div", { class: "ways" }, relaxations.map(one => way(one, constraints, apply)))),
    constraints.length > 0 && h("section", { class: "panel" }, h("h2", {}, "What it asks for"), constraintTable(found)),
    nearest.length > 0 && h("section", { class: "panel" }, h("h2", {}, "Nearest misses"),
      nearest.map(one => miss(one, constraints))),
    unlocked.length > 0 && h("section", { class: "panel" }, h("h2", {}, "Ask again once"),
      h("ul", { class: "events" }, unlocked.map(events => h("li", {}, events.map((event, at) => [at > 0 && " and ", eventWords(event, named)]))))),
    notes.length > 0 && h("p", { class: "faint" }, notes.join(" ")));
}

function summary({ feasible, trees, empty_cloud: empty }) {
  const now = `${count(feasible)} of ${several(trees, "tree")} can serve it now`;
  return empty === undefined || empty === null ? `${now}.` : `${now}; with nothing in use ${count(empty)} could.`;
}

const number = one => (one === null || one === undefined ? -1 : one);

function constraintTable({ constraints, trees }) {
  const sorted = [...constraints].sort((one, other) =>
    number(other.without) - number(one.without) || number(one.alone) - number(other.alone));
  const cell = value => (value === null || value === undefined ? h("span", { class: "faint" }, "–") : measure(value, trees));
  const room = sorted.some(one => one.empty_cloud !== undefined && one.empty_cloud !== null);
  const columns = [{ title: "Constraint" }, { title: "Meet it alone", wide: true }, { title: "Fit without it", wide: true },
    ...(room ? [{ title: "Alone, if empty", number: true }] : [])];
  return table(columns, sorted.map(one => [
    h("span", { class: "term", title: (one.aggregates ?? []).join("\n") }, words(one)), cell(one.alone), cell(one.without),
    ...(room ? [one.empty_cloud === undefined || one.empty_cloud === null ? "–" : count(one.empty_cloud)] : []),
  ]), { caption: `In each column: how many of ${several(trees, "tree")}` });
}

function way({ changes, feasible }, constraints, apply) {
  const said = changes.map(change => {
    const term = constraints.find(one => one.id === change.constraint);
    if (change.op === "amount") return `ask for ${amount(term.resource_class, change.to)} instead of ${amount(term.resource_class, change.from)} of ${term.resource_class}${term.group ? ` in group ${term.group}` : ""}`;
    return `leave out “${words(term)}”`;
  }).join(", and ");
  const text = said[0].toUpperCase() + said.slice(1);
  return h("div", { class: "way" },
    apply ? h("button", { type: "button", class: "apply", onclick: () => apply({ changes, feasible }) }, "Apply") : null,
    h("span", {}, text, h("span", { class: "soft" }, `: ${several(feasible, "tree")} can serve it`)));
}

function miss(one, constraints) {
  const fails = one.fails.map(id => constraints.find(term => term.id === id)).filter(Boolean);
  const heading = h("div", { class: "row" },
    one.name ? h("a", { href: href("tree", { id: one.root }), title: one.name }, h("strong", {}, cut(one.name, 40))) : h("strong", {}, "A tree"),
    h("span", { class: "faint" }, `distance ${Math.round(one.distance * 1000) / 1000}, meets ${one.satisfies.length} of ${constraints.length}`));
  return h("div", { class: "miss" }, heading, h("ul", {},
    (one.missing ?? []).map(lack => h("li", {}, lackWords(lack, constraints, one))),
    !(one.missing ?? []).length && fails.map(term => h("li", { class: "bad" }, words(term))),
    (one.held_by ?? []).map(holder => h("li", { class: "soft" }, "held by ",
      holder.consumer ? consumerLink(holder.consumer) : "others",
      holder.consumer_type && ` (${holder.consumer_type})`, holder.project_id && ` of ${cut(holder.project_id, 20)}`,
      holder.resources && `: ${held(holder.resources)}`,
      holder.since && [", since ", ago(holder.since)]))));
}

/** Names of providers by their UUIDs, as far as the nearest misses have them. */
function namesIn(nearest) {
  const found = new Map();
  for (const one of nearest) {
    if (one.name) found.set(one.root, one.name);
    for (const lack of one.missing ?? []) if (lack.name) found.set(lack.provider, lack.name);
  }
  return found;
}

/** A change of a provider that brings the request nearer. */
function eventWords(event, named) {
  const { resource_class: className = "", amount: number, trait, aggregate } = event;
  const at = event.provider
    ? h("a", { href: href("tree", { id: event.provider, mark: event.provider }), title: event.provider },
      cut(event.name ?? named.get(event.provider) ?? short(event.provider), 36))
    : "a provider";
  switch (event.event) {
    case "freed": return [`${amount(className, number)} ${className} are freed on `, at];
    case "capacity_raised": return [at, ` has room for ${amount(className, number)} ${className}`];
    case "units_changed": return [at, ` takes other units of ${className}`];
    case "trait_added": return [at, ` has ${trait}`];
    case "trait_removed": return [at, ` has no ${trait} any more`];
    case "aggregate_joined": return [at, ` is in aggregate ${short(aggregate)}`];
    case "aggregate_left": return [at, ` has left aggregate ${short(aggregate)}`];
    default: return [`${event.event.replaceAll("_", " ")} on `, at];
  }
}

function lackWords(lack, constraints, tree) {
  const at = lack.name && lack.name !== tree.name ? h("span", { class: "soft" }, " on ", cut(lack.name, 40)) : null;
  if (lack.resource_class) {
    const { resource_class: className, need, room, short: less, units = [] } = lack;
    const text = less > 0 || !units.length
      ? `lacks ${amount(className, less ?? need - room)} ${className}` : `${className} breaks ${units.join(", ").replaceAll("_", " ")}`;
    return [h("span", { class: "bad" }, text), h("span", { class: "soft" }, ` (needs ${amount(className, need)}, has room for ${amount(className, room)})`), at];
  }
  const term = constraints.find(one => one.id === (lack.constraint ?? lack.term));
  const names = lack.traits?.length ? lack.traits.join(" or ") : (lack.aggregates ?? []).map(short).join(" or ");
  return [h("span", { class: "bad" }, term ? `fails “${words(term)}”` : `lacks ${names}`), at];
}

