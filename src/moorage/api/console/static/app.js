/** Starts the console: the frame around the pages, the token, the theme, the keyboard. */

import { connect, keepToken, strategyName, token, trustsAll } from "./api.js";
import { forget } from "./cloud.js";
import { fill, h } from "./dom.js";
import { startFinding } from "./find.js";
import { problem } from "./parts/elements.js";
import { askAgain } from "./parts/change.js";
import { go, place, start } from "./router.js";
import * as changes from "./pages/changes.js";
import * as classes from "./pages/classes.js";
import * as consumer from "./pages/consumer.js";
import * as findings from "./pages/findings.js";
import * as leases from "./pages/leases.js";
import * as map from "./pages/map.js";
import * as search from "./pages/search.js";
import * as tree from "./pages/tree.js";
import * as why from "./pages/why.js";

const SHOWS = { map, tree, search, classes, consumer, changes, why, leases, findings };
const LETTERS = { m: "map", s: "search", c: "classes", o: "consumer", h: "changes", w: "why", l: "leases", f: "findings" };
const KEPT_THEME = "moorage.theme";
const CHORD_MILLISECONDS = 1200;

const main = document.getElementById("main");
let shown = { page: "", live: null };

function show() {
  const { page, params } = place();
  for (const link of document.querySelectorAll("#nav a")) {
    link.getAttribute("href") === page ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    if (link.ariaCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  if (page === shown.page && shown.live?.update) {
    shown.live.update(params);
    return;
  }
  anew();
}

/** Builds the shown page from nothing. */
function anew() {
  const { page, params } = place();
  shown.live?.destroy?.();
  document.title = `${SHOWS[page].title} · Moorage`;
  fill(main);
  scrollTo(0, 0);
  try {
    shown = { page, live: SHOWS[page].render(main, params) };
  } catch (error) {
    shown = { page: "", live: null };
    fill(main, problem(error, anew));
  }
}

/* The token */

const dialog = document.getElementById("token");
const field = document.getElementById("token-value");
let asking = null;

/** Asks the user for a token; whether there is one now. Questions at the same time are one question. */
function askForToken() {
  asking ??= new Promise(done => {
    const hint = trustsAll()
      ? "This service trusts every client (noauth2). A token USER:PROJECT asks as a member of that project; admin may do all."
      : strategyName() === "keystone"
        ? "Paste what `openstack token issue -f value -c id` prints. It stays in this tab."
        : "Paste a token of `moorage token create`. It stays in this tab.";
    document.getElementById("token-hint").textContent = hint;
    field.value = trustsAll() ? token() : "";
    field.type = trustsAll() ? "text" : "password";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => { asking = null; done(dialog.returnValue === "use"); }, { once: true });
  });
  return asking;
}

dialog.querySelector("form").addEventListener("submit", event => {
  event.preventDefault();
  keepToken(field.value.trim());
  dialog.close("use");
});
document.getElementById("token-cancel").addEventListener("click", () => dialog.close(""));
document.getElementById("identity").addEventListener("click", async () => {
  if (await askForToken()) { forget(); askAgain(); anew(); }
});

/* The theme: the system's wish, unless the switch says otherwise */

const root = document.documentElement;
const keptTheme = localStorage.getItem(KEPT_THEME);
if (keptTheme) root.dataset.theme = keptTheme;
const themeChanged = () => document.dispatchEvent(new Event("themechange"));
document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem(KEPT_THEME, root.dataset.theme);
  themeChanged();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeChanged);

/* The keyboard */

let chord = 0;
document.addEventListener("keydown", event => {
  if (event.key === "Escape" && !dialog.open && !event.defaultPrevented && shown.live?.escape?.()) return;
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find").focus();
  } else if (event.key === "g") {
    chord = performance.now();
  } else if (LETTERS[event.key] && performance.now() - chord < CHORD_MILLISECONDS) {
    chord = 0;
    go(LETTERS[event.key]);
  } else {
    shown.live?.key?.(event.key);
  }
});

startFinding();
connect(askForToken).then(() => start(show)).catch(error => {
  fill(main, h("div", {}, problem(error, () => location.reload())));
});
