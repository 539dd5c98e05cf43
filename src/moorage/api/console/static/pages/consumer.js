/** Consumers: what holds how much since when, by project and type; or one consumer with all that it holds. */

import { namesOf, request } from "../api.js";
import { ago, amount, count, cut, debounced, fill, h, several, short } from "../dom.js";
import { into, table } from "../parts/elements.js";
import { historyPanel, lastChange, lastChangeWords } from "../parts/history.js";
import { endOf, forgetLeases } from "../parts/lease.js";
import { held } from "../parts/tree.js";
import { change, href } from "../router.js";

const LIMIT = 200;

export const title = "Consumers";

export function render(main, params) {
  const page = {
    update(next) {
      if (next.get("id")) one(main, next.get("id"));
      else all(main, next);
    },
  };
  page.update(params);
  return page;
}

/** One consumer. */
function one(main, id) {
  const body = h("div", {});
  forgetLeases();
  fill(main, h("div", { class: "title" }, h("h1", {}, "Consumer"), h("code", { class: "soft" }, id),
    h("a", { class: "push", href: "consumer" }, "All consumers")), body);
  into(body, async () => {
    const claim = await claimOf(id);
    return { claim, named: await namesOf(Object.keys(claim?.providers ?? {})) };
  }, ({ claim, named }) => {
    const last = h("dd", { class: "last" }, "–");
    const history = historyPanel("claims", id, { known: (changes, begins) => fill(last, lastChangeWords(changes[0], begins)) });
    if (!claim) return [h("section", { class: "panel" }, h("p", {}, "It holds nothing: it was never granted a claim, or has released it.")), history];
    return [
      h("section", { class: "panel" }, h("dl", { class: "definitions" },
        h("dt", {}, "Holds"), h("dd", {}, held(claim.resources)),
        h("dt", {}, "Type"), h("dd", {}, claim.consumer_type ?? "unknown"),
        h("dt", {}, "Project"), h("dd", {}, h("a", { href: href("consumer", { project: claim.project_id }) }, claim.project_id)),
        h("dt", {}, "User"), h("dd", {}, claim.user_id),
        h("dt", {}, "Since"), h("dd", {}, ago(claim.since)),
        h("dt", {}, "Ends"), h("dd", {}, endOf(claim.lease)),
        h("dt", {}, "Last change"), last,
        h("dt", {}, "Generation"), h("dd", {}, count(claim.generation)))),
      h("section", { class: "panel" }, h("h2", {}, "Where"), table(
        [{ title: "Provider" }, { title: "Class" }, { title: "Amount", number: true }],
        Object.entries(claim.providers).flatMap(([uuid, resources]) => Object.entries(resources).map(([className, number]) => [
          h("a", { href: href("tree", { id: uuid, mark: uuid }), title: uuid }, cut(named.get(uuid)?.name ?? short(uuid), 48)),
          className, amount(className, number)])))),
      history,
    ];
  });
}

/** What a consumer holds; null for nothing. */
async function claimOf(id) {
  try {
    return (await request(`moorage/v1/claims/${encodeURIComponent(id)}`)).data;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** All consumers that the filters leave. */
function all(main, params) {
  const project = params.get("project") ?? "", type = params.get("type") ?? "", after = params.get("after") ?? "";
  const body = h("section", { class: "panel" });
  const field = (id, label, name, value) => h("label", { class: "field" }, `${label} `,
    h("input", { id, type: "search", value, spellcheck: "false", oninput: debounced(event => {
      change({ [name]: event.target.value.trim(), after: "" }, { replace: true });
      const again = document.getElementById(id);
      again?.focus();
    }, 400) }));
  // Typing in a field must not take it away.
  const typed = ["by-project", "by-type"].includes(document.activeElement?.id);
  const old = main.querySelector(".listing");
  if (typed && old) fill(old, body);
  else fill(main, h("div", { class: "title" }, h("h1", {}, "Consumers"), h("span", { class: "soft" }, "What holds how much, and since when.")),
    h("div", { class: "toolbar" }, field("by-project", "Project", "project", project), field("by-type", "Type", "type", type)),
    h("div", { class: "listing" }, body));
  const query = { limit: LIMIT };
  if (project) query.project_id = project;
  if (type) query.type = type;
  if (after) query.after = after;
  into(body, () => request("moorage/v1/claims", { query }), ({ data }) => data.claims.length ? [
    table([{ title: "Consumer" }, { title: "Holds" }, { title: "Project" }, { title: "Type" }, { title: "Since" }, { title: "Last change" }],
      data.claims.map(claim => [
        h("a", { href: href("consumer", { id: claim.consumer }), class: "mono", title: claim.consumer }, short(claim.consumer)),
        held(claim.resources),
        h("a", { href: href("consumer", { project: claim.project_id }), title: claim.project_id }, cut(claim.project_id, 24)),
        claim.consumer_type ?? "unknown", ago(claim.since), lastChange("claims", claim.consumer)])),
    h("div", { class: "row", style: { "margin-top": "8px" } },
      h("span", { class: "soft" }, several(data.claims.length, "consumer"), data.next && ", in the order of UUIDs"),
      after && h("a", { href: href("consumer", { project, type }) }, "First page"),
      data.next && h("a", { href: href("consumer", { project, type, after: data.next }) }, "Next page")),
  ] : h("p", { class: "soft" }, project || type ? "No consumer that is left by these filters holds anything." : "No consumer holds anything yet."));
}
