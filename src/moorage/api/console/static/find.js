/** The box in the top row that finds hosts, consumers, projects and request ids. */

import { lastOverview, overview } from "./cloud.js";
import { cut, fill, h } from "./dom.js";
import { go, href } from "./router.js";

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const MOST = 8;
const LOOKED_AT = 500;
const ORDER = new Intl.Collator("en", { numeric: true });

/** What a text may mean: `{text, kind, address}`, the likeliest first. */
export function meanings(text, cloud) {
  const found = [], wanted = text.trim();
  if (!wanted) return found;
  const add = (words, kind, address) => found.push({ text: words, kind, address });
  if (wanted.startsWith("req-")) add(wanted, "request", href("why", { request: wanted }));
  if (wanted.includes("resources")) add("This query", "search", href("search", { q: wanted }));
  if (UUID.test(wanted)) {
    if (cloud && cloud.indexOf(wanted) >= 0) add(cloud.names[cloud.indexOf(wanted)], "tree", href("tree", { id: wanted }));
    else add(wanted, "consumer", href("consumer", { id: wanted }));
    add(wanted, "provider", href("tree", { id: wanted }));
    if (!wanted.startsWith("req-")) add(wanted, "request", href("why", { request: wanted }));
  }
  const lower = wanted.toLowerCase();
  for (const className of cloud?.classNames ?? [])
    if (className.toLowerCase().startsWith(lower)) add(className, "class", href("map", { class: className }));
  if (cloud) {
    const names = cloud.names, begin = [], hold = [];
    for (let index = 0; index < names.length && begin.length < LOOKED_AT; index++) {
      const at = names[index].toLowerCase().indexOf(lower);
      if (at === 0) begin.push(index);
      else if (at > 0 && hold.length < LOOKED_AT) hold.push(index);
    }
    for (const list of [begin, hold]) list.sort((one, other) => ORDER.compare(names[one], names[other]));
    for (const index of [...begin, ...hold].slice(0, MOST)) add(names[index], "tree", href("tree", { id: cloud.roots[index] }));
    if (begin.length + hold.length > 1) add(`All trees with “${wanted}”`, "map", href("map", { name: wanted }));
  }
  if (!UUID.test(wanted) && !wanted.includes("=")) add(wanted, "project", href("consumer", { project: wanted }));
  return found;
}

export function startFinding() {
  const input = document.getElementById("find"), list = document.getElementById("found");
  let found = [], at = 0;
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const draw = () => {
    found = meanings(input.value, lastOverview());
    at = Math.min(at, Math.max(0, found.length - 1));
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    fill(list, found.map((one, index) => h("li", {
      role: "option", id: `found-${index}`, "aria-selected": String(index === at), title: one.text,
      onpointerdown: event => { event.preventDefault(); open(one); },
    }, h("span", {}, cut(one.text, 48)), h("span", { class: "faint" }, one.kind))));
    if (found.length) input.setAttribute("aria-activedescendant", `found-${at}`);
  };
  const open = one => {
    input.value = "";
    close();
    input.blur();
    go(one.address);
  };
  input.addEventListener("focus", () => { if (!lastOverview()) overview().then(draw, () => {}); });
  input.addEventListener("input", () => { at = 0; draw(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      at = (at + step + found.length) % found.length;
      draw();
    } else if (event.key === "Enter" && found[at]) {
      event.preventDefault();
      open(found[at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      input.value = "";
      close();
      input.blur();
    }
  });
}
