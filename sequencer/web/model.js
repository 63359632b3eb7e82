// What this page knows: bounded, and put together from the answers of one node. Nothing here touches the document.

export const VIEWS_KEPT_MAX = 400;
const SAMPLES_MS = 10_000; // over which a rate is told
export const EVENTS_KEPT_MAX = 60;
export const BLOCKS_KEPT_MAX = 10;
export const COLOURS = 7;

/** Looked up for every validator in every column, so not in lists. */
const collectVoters = ({ quorum_voters, finalize_voters, timeout_voters }) =>
  ({ quorum: new Set(quorum_voters), finalize: new Set(finalize_voters), timeout: new Set(timeout_voters) });

const keyOf = (view) => `${view.epoch}:${view.view}`;

export class Model {
  constructor() {
    this.status = null;
    this.validators = null;
    this.ledger = null;
    this.committees = null;
    this.schedule = null;
    this.evidence = { pending: [], included: [] };
    this.faults = [];
    this.events = []; // changes of the ledger, newest first
    this.blocks = []; // newest first
    this.views = []; // oldest first
    this.heard = {}; // when each validator's last vote or proposal came, by the node's clock
    this.lost = null; // since when the node does not answer, in ms of this browser's clock
    this.progressAt = null; // when this page last saw the height change
    this.samples = []; // [ms, height]
    this.answeredAt = null; // when the last answer came
    this.clockLag = 0; // of the node's clock behind this browser's, in ms
    this.missing = new Set(); // addresses that this node does not serve
  }

  onStatus(status, now) {
    const before = this.status;
    if (before && (status.validator !== before.validator || status.uptime_s < before.uptime_s)) this.forget();
    if (before?.height !== status.height) this.progressAt = now;
    this.status = status;
    this.lost = null;
    this.answeredAt = now;
    this.samples.push([now, status.height]);
    while (this.samples.length > 2 && this.samples[0][0] < now - SAMPLES_MS) this.samples.shift();
  }

  /** The node was started again: what it remembers of views, changes and evidence began anew. */
  forget() {
    this.events = [];
    this.views = [];
    this.samples = [];
    this.blocks = [];
  }

  /** Nobody has looked for a while, so nothing was asked: that is no silence of the node. */
  onResume(now) {
    this.answeredAt &&= now;
    this.progressAt &&= now;
    this.samples = [];
  }

  onViews({ views, last_heard_ms, now_ms }, now) {
    this.heard = last_heard_ms;
    this.clockLag = now - now_ms;
    this.addViews(views);
  }

  addViews(views) {
    const known = new Map(this.views.map((view) => [keyOf(view), view]));
    for (const view of views) known.set(keyOf(view), { ...view, voters: collectVoters(view) });
    // The views in which an epoch closed itself count again in the next one: theirs is the later word.
    const first = views.find((view) => view.epoch === views.at(-1).epoch);
    this.views = [...known.values()]
      .filter((view) => !first || view.epoch >= first.epoch || view.view < first.view)
      .sort((one, other) => one.epoch - other.epoch || one.view - other.view)
      .slice(-VIEWS_KEPT_MAX);
  }

  /** The oldest view that may still change here; from it on they are asked for again. */
  get viewsFrom() {
    const recent = this.views.slice(-32);
    const open = recent.find((view) => view.outcome === "open" || view.outcome === "certified");
    return open?.view ?? recent.at(-1)?.view ?? null;
  }

  onChanges(changes) {
    const heights = new Set(changes.map((change) => change.height));
    const kept = this.events.filter((event) => !heights.has(event.height));
    this.events = [...changes.toReversed(), ...kept].slice(0, EVENTS_KEPT_MAX);
  }

  onBlocks(blocks) {
    const known = new Map([...this.blocks, ...blocks].map((block) => [block.height, block]));
    this.blocks = [...known.values()].sort((one, other) => other.height - one.height).slice(0, BLOCKS_KEPT_MAX);
  }

  /** Now, by the node's clock, as well as this page can tell. */
  nodeNow(now) {
    return now - this.clockLag;
  }

  get blocksPerSecond() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (this.samples.length < 3 || last[0] - first[0] < 900) return null;
    return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
  }

  /** Those who vote in this epoch, in the order of their numbers. */
  get members() {
    return (this.validators?.validators ?? []).filter((validator) => validator.weight > 0);
  }

  /** Which of the colours is whose: by place in the list of all validators, so that it stays. */
  colourOf(name) {
    const place = (this.validators?.validators ?? []).findIndex((validator) => validator.name === name);
    return place < 0 ? "none" : place % COLOURS;
  }
}

export { keyOf };
