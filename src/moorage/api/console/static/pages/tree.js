/** Tree: one tree with bars, traits and holders. */

import { fill, h, short } from "../dom.js";
import { into, state } from "../parts/elements.js";
import { treeView } from "../parts/tree.js";

export const title = "Tree";

export function render(main, params) {
  const page = {
    update(next) {
      const id = next.get("id");
      if (!id) {
        fill(main, state("No tree is chosen", h("p", {}, "Choose one on the ", h("a", { href: "map" }, "map"), ", or find it by its name.")));
        return;
      }
      const heading = h("h1", {}, short(id)), body = h("div", { class: "panel" });
      fill(main, h("div", { class: "title" }, heading, h("code", { class: "soft" }, id),
        h("a", { class: "push", href: "map" }, "Map")), body);
      into(body, () => treeView(id, { title: heading, marked: next.get("mark") ?? id }), found => found).then(() => {
        document.title = `${heading.textContent} · Moorage`;
        document.getElementById(`p-${next.get("mark")}`)?.scrollIntoView({ block: "center" });
      });
    },
  };
  page.update(params);
  return page;
}
