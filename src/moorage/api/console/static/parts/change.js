/** The journal: a change in a line and whole, the history of one thing, and when it last changed. */

import { namesOf, request } from "../api.js";
import { ago, amount, count, cut, fill, h, say, several, short } from "../dom.js";
import { href } from "../router.js";
import { definitions, problem, table, waiting } from "./elements.js";

const MOST_NAMES = 20_000;
const NAMES_AT_ONCE = 500;
const IN_A_LINE = 2;
const SUBJECTS = 20;

/* Names of providers */

const named = new Map();
const unnamed = new Set();
let mayName = true;

export const nameOf = uuid => named.get(uuid) ?? short(uuid);

/** Learns the names that these changes need, as far as this client may see them. */
export async function learnNames(changes) {
  const missing = new Set();
  for (const change of changes) {
    const all = Object.entries(change.providers ?? {});
    for (const [uuid, parts] of all) {
      const [was, now] = parts.name ?? [];
      if (now ?? was) named.set(uuid, now ?? was);
    }
    for (const uuid of all.map(([one]) => one).concat(Object.values(change.consumers ?? {}).flatMap(one => Object.keys(one.held ?? {}))))
      if (!named.has(uuid) && !unnamed.has(uuid)) missing.add(uuid);
  }
  if (!missing.size || !mayName) return;
  if (named.size + unnamed.size > MOST_NAMES) { named.clear(); unnamed.clear(); }
  const wanted = [...missing].slice(0, NAMES_AT_ONCE);
  try {
    const found = await namesOf(wanted);
    for (const uuid of wanted) found.has(uuid) ? named.set(uuid, found.get(uuid).name) : unnamed.add(uuid);
  } catch (error) {
    if (error.status === 403) mayName = false;
  }
}

/* What changed */

const ROWS = { name: "Name", parent: "Parent", root: "Tree", generation: "Generation" };
const OWNER = { project_id: "Project", user_id: "User", consumer_type: "Type", lease: "Lease", generation: "Generation" };
const INVENTORY = { total: "", reserved: "reserved", allocation_ratio: "ratio", min_unit: "least", max_unit: "most", step_size: "step" };
const USUAL = { reserved: 0, allocation_ratio: 1, min_unit: 1, step_size: 1 };

const told = (value, className) => (value === null || value === undefined ? null : typeof value === "number" ? amount(className ?? "", value) : String(value));

/** An inventory in words, without what it usually is. */
function inventoryWords(className, one) {
  if (!one) return null;
  return Object.entries(INVENTORY).filter(([name]) => name in one && one[name] !== USUAL[name] && !(name === "max_unit" && one[name] >= one.total))
    .map(([name, word]) => (name === "allocation_ratio" ? `ratio ${one[name]}` : `${word} ${amount(className, one[name])}`.trim())).join(", ");
}

/** What differs of a provider: `[what, before, after]`; null: not there. */
export function providerPairs(parts) {
  const found = [];
  for (const [name, word] of Object.entries(ROWS))
    if (parts[name]) found.push([word, ...parts[name].map(one => (one !== null && (name === "parent" || name === "root") ? nameOf(one) : told(one)))]);
  if (parts.inventories) {
    const [was, now] = parts.inventories.map(one => one ?? {});
    for (const className of union(was, now)) {
      const pair = [inventoryWords(className, was[className]), inventoryWords(className, now[className])];
      if (pair[0] !== pair[1]) found.push([className, ...pair]);
    }
  }
  for (const [className, pair] of Object.entries(parts.used ?? {})) found.push([`${className} used`, ...pair.map(one => told(one, className))]);
  for (const [name, word] of [["traits", "Trait"], ["aggregates", "Aggregate"]])
    for (const one of difference(parts[name])) found.push([`${word} ${one.name}`, one.gone ? "yes" : null, one.gone ? null : "yes"]);
  return found;
}

/** As `providerPairs`, of a consumer. */
export function consumerPairs(parts) {
  const found = [];
  for (const [name, word] of Object.entries(OWNER)) {
    const pair = parts[name];
    if (pair && pair[0] !== pair[1]) found.push([word, ...pair.map(one => told(one))]);
  }
  for (const [uuid, amounts] of Object.entries(parts.held ?? {}))
    for (const [className, pair] of Object.entries(amounts)) found.push([`${className} of ${nameOf(uuid)}`, ...pair.map(one => told(one, className))]);
  for (const [className, pair] of Object.entries(parts.resources ?? {})) found.push([className, ...pair.map(one => told(one, className))]);
  return found;
}

const union = (one, other) => [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();

function difference(pair) {
  if (!pair) return [];
  const [was, now] = pair.map(one => one ?? []);
  return [...was.filter(one => !now.includes(one)).map(name => ({ name, gone: true })), ...now.filter(one => !was.includes(one)).map(name => ({ name, gone: false }))];
}

const signed = (className, number) => `${className} ${number < 0 ? "−" : "+"}${amount(className, Math.abs(number))}`;

/** By how much a consumer holds more or less of each class, and where. */
export function holdWords(parts) {
  const sums = {}, places = Object.keys(parts.held ?? {});
  for (const amounts of [parts.resources ?? {}, ...Object.values(parts.held ?? {})])
    for (const [className, [was, now]] of Object.entries(amounts)) sums[className] = (sums[className] ?? 0) + (now ?? 0) - (was ?? 0);
  const moved = Object.entries(sums).filter(([, number]) => number);
  const words = moved.sort().map(([className, number]) => signed(className, number)).join(", ");
  if (!words && places.length) return `moved to ${placesOf(parts, 1) || "another place"}`;
  return words && places.length ? `${words} on ${placesOf(parts)}` : words;
}

function placesOf(parts, side) {
  const all = Object.entries(parts.held).filter(([, amounts]) => side === undefined || Object.values(amounts).some(pair => pair[side])).map(([uuid]) => cut(nameOf(uuid), 32));
  return all.length > IN_A_LINE ? `${all.slice(0, IN_A_LINE).join(", ")} and ${all.length - IN_A_LINE} more` : all.join(", ");
}

const leaseWords = ([was, now] = []) => (was === now ? "" : now ? `on lease ${short(now)}` : `off lease ${short(was)}`);

/** What changed of a provider, in a line. `quiet`: what consumers hold was told before. */
export function providerWords(parts, quiet = false) {
  const { name, root, parent, inventories } = parts, words = [];
  if (name && name[0] === null) words.push("created");
  else if (name && name[1] === null) words.push("deleted");
  else {
    if (name) words.push(`renamed from ${cut(name[0], 32)}`);
    if (root || parent) words.push("moved to another place");
    if (inventories) {
      const [was, now] = inventories.map(one => one ?? {});
      for (const className of union(was, now)) {
        const [before, after] = [was[className], now[className]];
        if (!before) words.push(`${className} ${amount(className, after.total)} added`);
        else if (!after) words.push(`${className} removed`);
        else if (before.total !== after.total) words.push(`${className} ${count(before.total)} → ${amount(className, after.total)}`);
        else if (inventoryWords(className, before) !== inventoryWords(className, after)) words.push(`${className} ${inventoryWords(className, after)}`);
      }
    }
    for (const one of difference(parts.traits)) words.push(`${one.gone ? "−" : "+"}${one.name}`);
    const aggregates = difference(parts.aggregates);
    if (aggregates.length) words.push(`${several(aggregates.length, "aggregate")} changed`);
    if (!quiet) for (const [className, [was, now]] of Object.entries(parts.used ?? {})) words.push(`${signed(className, now - was)} used`);
  }
  return words.join(", ");
}

const LISTS = [["resource_classes", "class"], ["traits", "trait"]];

function others(change) {
  const words = [];
  for (const [kind, word] of LISTS) {
    const all = Object.entries(change[kind] ?? {});
    if (all.length > 3) words.push(`${count(all.length)} ${kind.replace("_", " ")}`);
    else for (const [name, [, is]] of all) words.push(`${word} ${name} ${is ? "created" : "deleted"}`);
  }
  for (const { owner, state } of Object.values(change.leases ?? {})) words.push(`lease of ${cut(owner, 32)}${state ? `: ${state[0] ?? "none"} → ${state[1]}` : ""}`);
  if (change.reason) words.push(`because of a finding: ${Object.values(change.reason).join(", ")}`);
  for (const [old, now] of Object.entries(change.renamed ?? {})) words.push(`class ${old} renamed to ${now}`);
  if (change.adopted) words.push(`a new history begins with ${Object.entries(change.adopted).map(([name, number]) => `${count(number)} ${name.replaceAll("_", " ")}`).join(", ")}`);
  return words;
}

/** The roots of the trees that a change is about. */
export const treesOf = change => Object.values(change.providers ?? {}).flatMap(parts => [parts.tree, ...(parts.root ?? [])]).filter(Boolean);

/** Whether the journal keeps of a change only what it is about. */
export function isShort(change) {
  const all = [...Object.values(change.providers ?? {}), ...Object.values(change.consumers ?? {})];
  return all.length > 0 && all.every(parts => Object.keys(parts).every(name => ["tree", "root", "project_id"].includes(name)));
}

/** A change in one line, as nodes. `about`: what needs not be named; `plain`: without links. */
export function changeLine(change, { about = "", plain = false } = {}) {
  const parts = [], consumers = Object.entries(change.consumers ?? {});
  const link = (text, address, more) => (plain ? text : h("a", { href: address, ...more }, text));
  for (const [uuid, one] of consumers) {
    const words = [holdWords(one), leaseWords(one.lease)].filter(Boolean).join(", ");
    parts.push(uuid === about ? words || "the consumer itself"
      : [words && `${words}: `, "consumer ", link(short(uuid), href("consumer", { id: uuid }), { class: "mono", title: uuid })]);
  }
  const holds = consumers.some(([, one]) => one.held);
  for (const [uuid, one] of Object.entries(change.providers ?? {})) {
    const words = providerWords(one, holds && uuid !== about);
    if (uuid === about ? !holds : words || !consumers.length)
      parts.push(uuid === about ? words || "the provider itself" : [link(cut(nameOf(uuid), 32), href("tree", { id: one.tree, mark: uuid }), { title: nameOf(uuid) }), words && ` ${words}`]);
  }
  parts.push(...others(change));
  const shown = parts.slice(0, IN_A_LINE).map((one, at) => [at > 0 && "; ", one]);
  return [shown, parts.length > IN_A_LINE && `; and ${count(parts.length - IN_A_LINE)} more`, !parts.length && h("span", { class: "faint" }, "No value that is shown here")];
}

/** Who made a change: user and project, as far as they may be seen. */
export const who = ({ by, path, leases, consumers = {} }) => (!by ? "another project"
  : [by.user_id, by.project_id && by.project_id !== by.user_id && `of ${by.project_id}`].filter(Boolean).join(" ")
    // No client asks for what the service does of itself. What it does to leases, its keeper does.
    || (path !== "service" ? "not known" : leases || Object.values(consumers).some(one => one.lease) ? "the keeper" : "the service"));

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A time of today by the clock, an earlier one with its day; whole on hover. It stays true as time passes. */
export function clock(text) {
  const time = new Date(text), today = time.toDateString() === new Date().toDateString();
  return h("time", { datetime: text, title: text }, today ? CLOCK.format(time) : `${DATE.format(time)} ${CLOCK.format(time)}`);
}

/** A change with all that it changes. */
export function changeView(change) {
  const by = change.by ?? {};
  const project = by.project_id && h("a", { href: href("changes", { project: by.project_id }), title: "Changes of this project's consumers" }, by.project_id);
  const lines = [
    ["Revision", count(change.revision)], ["When", [clock(change.at), ` (${change.at})`]], ["Kind", h("code", {}, change.kind)],
    ["Path", PATHS[change.path] ?? change.path],
    ...(change.path === "service" ? [["By", who(change)]] : change.by ? [["User", by.user_id ?? "not known"], ["Project", project ?? "none"],
      ["Request id", by.request_id ? h("code", {}, by.request_id) : "none"],
      by.global_request_id && ["Global request id", h("code", {}, by.global_request_id)]]
      : [["By", "another project, whose requests this token may not see"]]),
  ].filter(Boolean);
  return h("div", {},
    definitions(lines),
    isShort(change) && h("p", { class: "soft" }, "The journal keeps what this change is about, and no values: ", h("code", {}, "[moorage] journal"), " is ", h("code", {}, "refs"), "."),
    subjects(change));
}

const PATHS = { placement: "the API of Placement", native: "the native API", command: "a command", service: "the service itself" };

function subjects(change) {
  const all = [
    ...Object.entries(change.consumers ?? {}).map(([uuid, parts]) => [["Consumer ", h("a", { href: href("consumer", { id: uuid }), class: "mono" }, uuid)], consumerPairs(parts)]),
    ...Object.entries(change.providers ?? {}).map(([uuid, parts]) => [["Provider ", h("a", { href: href("tree", { id: parts.tree, mark: uuid }), title: uuid }, nameOf(uuid))], providerPairs(parts)]),
  ];
  const rest = others(change);
  const box = h("div", {});
  const show = number => {
    fill(box, rest.length > 0 && h("p", { class: "subject" }, rest.join(", ")), all.slice(0, number).map(([heading, pairs]) => h("section", { class: "subject" }, h("h3", {}, heading),
      pairs.length > 0 && table([{ title: "Value" }, { title: "Before" }, { title: "After" }],
        pairs.map(([what, was, now]) => [what, absent(was), absent(now)])))),
    all.length > number && h("button", { type: "button", class: "quiet", onclick: () => show(all.length) }, `Show all ${count(all.length)}`));
  };
  show(SUBJECTS);
  return box;
}

const absent = value => value ?? h("span", { class: "faint" }, "not there");

/* The history of a provider or a consumer */

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
