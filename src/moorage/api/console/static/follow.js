/** Follows the journal: each change once and in order, across cuts, restarts and pauses. */

import { request } from "./api.js";

const PATH = "moorage/v1/changes";
/**
 * How long the service holds an empty page. It cannot see that a client has gone, and keeps its place for as
 * long: so this is short, and pages are asked for instead of a stream.
 */
const WAIT = "5s";
const SILENT_MILLISECONDS = 30_000;
const FIRST_PAUSE = 0.5;
const MOST_PAUSE = 15;
const BUSY_PAUSE = 3;
/** After changes have come: those of this time come together. */
const BETWEEN = 0.25;

/**
 * Follows the changes that `query` wants, after `position`; null: from now on. `took(changes)` gets them.
 * `told({state, position, ...})` hears how it goes:
 *   live; still: it was stopped; waiting: it asks again in `seconds`, because of the error `reason`;
 *   paged: no place is free to wait in, so it asks every `seconds`; over: the error `reason` says why.
 * With `skips` it leaves out what came while nobody looked.
 */
export class Follower {
  constructor({ query = {}, position = null, epoch = null, skips = false, took, told = () => {} }) {
    Object.assign(this, { query, position, epoch, skips, took, told });
    this.wanted = false;
    // Nobody looks at a hidden page, and places to wait in are few.
    this.looked = () => (document.hidden ? this._stop() : this.wanted && this._start(this.skips));
    document.addEventListener("visibilitychange", this.looked);
  }

  /** Begins, or goes on where it was. */
  start() {
    this.wanted = true;
    if (!document.hidden) this._start();
  }

  /** Asks no more, and remembers the place. */
  stop() {
    this.wanted = false;
    this._stop();
    this._tell("still");
  }

  close() {
    this.wanted = false;
    this._stop();
    document.removeEventListener("visibilitychange", this.looked);
  }

  _start(anew = false) {
    this._stop();
    if (anew) this.position = this.epoch = null;
    this.stopper = new AbortController();
    this._run(this.stopper.signal);
  }

  _stop() {
    this.stopper?.abort();
  }

  _tell(state, more = {}) {
    this.told({ state, position: this.position, ...more });
  }

  async _run(signal) {
    // What is there is asked for first: it says at once that the service answers.
    let pause = FIRST_PAUSE, waits = false, isBusy = false;
    while (!signal.aborted) {
      let seconds = 0;
      try {
        const { changes, more } = await this._page(waits, signal);
        if (signal.aborted) return;
        if (changes.length) this.took(changes);
        if (isBusy) this._tell("paged", { seconds: (seconds = more ? 0 : BUSY_PAUSE) });
        else {
          this._tell("live");
          if (changes.length && !more) seconds = BETWEEN;
        }
        pause = FIRST_PAUSE;
        waits = !more;
        isBusy = false;
      } catch (reason) {
        if (signal.aborted) return;
        if (reason.status >= 400 && reason.status < 500) {
          this.wanted = false;
          this._tell("over", { reason });
          return;
        }
        waits = false;
        if (reason.code === "busy") isBusy = true;
        else {
          this._tell("waiting", { reason, seconds: (seconds = pause) });
          pause = Math.min(2 * pause, MOST_PAUSE);
        }
      }
      if (seconds) await rest(seconds, signal);
    }
  }

  async _page(waits, signal) {
    const own = new AbortController(), cut = () => own.abort(), timer = setTimeout(cut, SILENT_MILLISECONDS);
    signal.addEventListener("abort", cut, { once: true });
    const query = { ...this.query, after: this.position ?? "now", ...(this.epoch && { epoch: this.epoch }), ...(waits && { wait: WAIT }) };
    try {
      const { data } = await request(PATH, { query, signal: own.signal });
      if (!signal.aborted) Object.assign(this, { position: data.next_after, epoch: data.epoch });
      return data;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
    }
  }
}

const rest = (seconds, signal) => new Promise(done => {
  const timer = setTimeout(done, seconds * 1000);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

/** The present revision and history. */
export async function present(query, signal) {
  const { data } = await request(PATH, { query: { ...query, after: "now", limit: 1 }, signal });
  return { revision: data.revision, epoch: data.epoch };
}

const SPANS = [200, 1000, 5000];
const MOST_LOOKED_AT = 20_000;

/**
 * The changes that `query` wants up to a revision, the newest first: `least` of them if it need not look through
 * too many. `after`: all between it and `upper` were looked at. `begins`: the journal has nothing before it.
 */
export async function back(query, upper, least, signal) {
  let changes = [], after = upper, begins = upper <= 0;
  for (let turn = 0; !begins && changes.length < least && upper - after < MOST_LOOKED_AT; turn++) {
    let from = Math.max(0, after - SPANS[Math.min(turn, SPANS.length - 1)]), part;
    try {
      part = await between(query, from, after, signal);
    } catch (error) {
      if (error.code !== "compacted") throw error;
      begins = true;
      from = error.facts.compacted;
      if (from >= after) break;
      part = await between(query, from, after, signal);
    }
    changes = [...changes, ...part.reverse()];
    after = from;
    begins ||= after <= 0;
  }
  return { changes, after, begins };
}

async function between(query, after, upper, signal) {
  const found = [];
  while (after < upper) {
    const { data } = await request(PATH, { query: { ...query, after, limit: 1000 }, signal });
    found.push(...data.changes.filter(one => one.revision <= upper));
    if (data.next_after <= after) break;
    after = data.next_after;
  }
  return found;
}
