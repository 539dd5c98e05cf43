/** Buttons by which an operator decides about something, if the service lets its console write. */

import { mayWrite, newKey, request } from "../api.js";
import { fill, h, say } from "../dom.js";
import { problem } from "./elements.js";

/**
 * A row of buttons, none where the console only reads. Each choice is `[words, body]`, sent to `path`; after that
 * `done` is called.
 */
export function decisions(path, choices, done) {
  if (!mayWrite()) return null;
  const answer = h("div", { "aria-live": "polite" }), row = h("div", { class: "row" });
  const choose = async (words, body, key) => {
    for (const one of row.children) one.disabled = true;
    try {
      await request(path, { body, key });
      say(`${words}: done.`);
      done();
    } catch (error) {
      for (const one of row.children) one.disabled = false;
      fill(answer, problem(error, () => choose(words, body, error.status ? newKey() : key)));
    }
  };
  fill(row, choices.map(([words, body]) => h("button", { type: "button", class: "quiet", onclick: () => choose(words, body, newKey()) }, words)));
  return h("div", {}, row, answer);
}

/** A choice of a filter: one of several words, or any. */
export const chosenOf = (label, value, words, chosen) => h("label", { class: "field" }, `${label} `,
  h("select", { onchange: event => chosen(event.target.value) },
    h("option", { value: "" }, "any"),
    words.map(one => h("option", { value: one, selected: one === value }, one))));
