/** Tree: one tree with bars, traits and holders, and the history of one of its providers. */

import { cut, fill, h, short } from "../dom.js";
import { into, state } from "../parts/elements.js";
import { historyPanel } from "../parts/change.js";
import { treeView } from "../parts/tree.js";

export const title = "Tree";

export function render(main, params) {
  let id = null, mark = null, past = null, providers = [];
  const history = h("div", { class: "below" });
  const showHistory = () => {
    const about = past ?? mark ?? id, one = providers.find(each => each.uuid === about);
    fill(history, historyPanel("providers", about, {
      tree: providers.length ? providers[0].root : id, heading: `History of ${cut(one?.name ?? short(about), 60)}`,
      known: () => { if (past) history.scrollIntoView({ block: "start" }); },
    }));
  };
  const page = {
    update(next) {
      const isSame = id && id === next.get("id") && mark === next.get("mark");
      id = next.get("id");
      mark = next.get("mark");
      past = next.get("history");
      if (!id) {
        fill(main, state("No tree is chosen", h("p", {}, "Choose one on the ", h("a", { href: "map" }, "map"), ", or find it by its name.")));
        return;
      }
      if (isSame) { showHistory(); return; }
      const heading = h("h1", {}, short(id)), body = h("div", { class: "panel" });
      fill(history);
      fill(main, h("div", { class: "title" }, heading, h("code", { class: "soft" }, id),
        h("a", { class: "push", href: "map" }, "Map")), body, history);
      const known = found => { providers = found; };
      into(body, () => treeView(id, { title: heading, marked: mark ?? id, known }), found => found).then(() => {
        document.title = `${heading.textContent} · Moorage`;
        if (body.querySelector(".problem")) return;
        if (!past) document.getElementById(`p-${mark}`)?.scrollIntoView({ block: "center" });
        showHistory();
      });
    },
  };
  page.update(params);
  return page;
}
