/** Consumers: what holds how much since when, by project and type; or one consumer with all that it holds. */

import { namesOf, request } from "../api.js";
import { ago, amount, count, cut, debounced, fill, h, several } from "../dom.js";
import { consumerLink, definitions, field, heading, into, pageLinks, panel, providerLink, table } from "../parts/elements.js";
import { historyPanel, lastChange, lastChangeWords } from "../parts/change.js";
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
  fill(main, heading("Consumer", h("code", {}, id),
    h("a", { class: "push", href: "consumer" }, "All consumers")), body);
  into(body, async () => {
    const claim = await claimOf(id);
    return { claim, named: await namesOf(Object.keys(claim?.providers ?? {})) };
  }, ({ claim, named }) => {
    const last = h("span", { class: "last" }, "–");
    const history = historyPanel("claims", id, { known: (changes, begins) => fill(last, lastChangeWords(changes[0], begins)) });
    if (!claim) return [panel(h("p", {}, "It holds nothing: it was never granted a claim, or has released it.")), history];
    return [
      panel(definitions([
        ["Holds", held(claim.resources)],
        ["Type", claim.consumer_type ?? "unknown"],
        ["Project", h("a", { href: href("consumer", { project: claim.project_id }) }, claim.project_id)],
        ["User", claim.user_id],
        ["Since", ago(claim.since)],
        ["Ends", endOf(claim.lease)],
        ["Last change", last],
        ["Generation", count(claim.generation)]])),
      panel(h("h2", {}, "Where"), table(
        [{ title: "Provider" }, { title: "Class" }, { title: "Amount", number: true }],
        Object.entries(claim.providers).flatMap(([uuid, resources]) => Object.entries(resources).map(([className, number]) => [
          providerLink(uuid, named, 48), className, amount(className, number)])))),
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
  const body = panel();
  const filter = (id, label, name, value) => field(label, { id, value, oninput: debounced(event => {
    change({ [name]: event.target.value.trim(), after: "" }, { replace: true });
    document.getElementById(id)?.focus();
  }, 400) });
  // Typing in a field must not take it away.
  const typed = ["by-project", "by-type"].includes(document.activeElement?.id);
  const old = main.querySelector(".listing");
  if (typed && old) fill(old, body);
  else fill(main, heading("Consumers", "What holds how much, and since when."),
    h("div", { class: "toolbar" }, filter("by-project", "Project", "project", project), filter("by-type", "Type", "type", type)),
    h("div", { class: "listing" }, body));
  const query = { limit: LIMIT };
  if (project) query.project_id = project;
  if (type) query.type = type;
  if (after) query.after = after;
  into(body, () => request("moorage/v1/claims", { query }), ({ data }) => data.claims.length ? [
    table([{ title: "Consumer" }, { title: "Holds" }, { title: "Project" }, { title: "Type" }, { title: "Since" }, { title: "Last change" }],
      data.claims.map(claim => [
        consumerLink(claim.consumer), held(claim.resources),
        h("a", { href: href("consumer", { project: claim.project_id }), title: claim.project_id }, cut(claim.project_id, 24)),
        claim.consumer_type ?? "unknown", ago(claim.since), lastChange("claims", claim.consumer)])),
    pageLinks([several(data.claims.length, "consumer"), data.next && ", in the order of UUIDs"], "consumer", { project, type, after }, data.next),
  ] : h("p", { class: "soft" }, project || type ? "No consumer that is left by these filters holds anything." : "No consumer holds anything yet."));
}
