// Asks the node: at most once per half second, only for what is new, and not at all while nobody looks.

import { BLOCKS_KEPT_MAX } from "./model.js";

const TICK_MS = 500;
const ANSWER_MS_MAX = 2000; // the node has more important things to do, but not for so long
const VIEWS_ASKED_MAX = 200;
const GAP_MS = 5000; // after a pause longer than this the newest views are asked for, not all that were missed

export class Source {
  /** `onStatus` is called when the status has come, `onUpdate` after every round of answers, and when there was none. */
  constructor(model, onStatus, onUpdate) {
    this.model = model;
    this.onStatus = onStatus;
    this.onUpdate = onUpdate;
    this.round = 0;
    this.runs = 0; // how often asking was begun or ended: an old run sees that it is over
    this.viewsAt = 0;
    this.shape = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  start() {
    if (document.hidden) return;
    this.model.onResume(Date.now());
    this.run(++this.runs);
  }

  stop() {
    this.runs += 1;
  }

  async run(number) {
    while (number === this.runs) {
      const began = performance.now();
      await this.ask();
      this.onUpdate();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, TICK_MS - (performance.now() - began))));
    }
  }

  async ask() {
    const { model } = this;
    try {
      const status = await getJson("v1/status");
      const wasLost = model.lost !== null;
      model.onStatus(status, Date.now());
      if (wasLost) this.shape = null;
    } catch {
      model.lost ??= model.answeredAt ?? Date.now();
      return;
    }
    this.onStatus(); // who is connected and who leads is known now; the rest may take its time
    // Who leads, votes or is punished changes with the ledger: then at once, else now and then.
    const { epoch, mode, benched, jailed, tombstoned } = model.status;
    const shape = JSON.stringify([epoch, mode, benched, jailed, tombstoned]);
    const isTurned = shape !== this.shape;
    const jobs = [this.askViews(), this.askBlocks()];
    if (isTurned || this.round % 2 === 0) {
      jobs.push(this.keep("v1/schedule?views=12", (answer) => (model.schedule = answer)));
      jobs.push(this.keep("v1/faults", (answer) => (model.faults = answer.faults)));
      jobs.push(this.keep("v1/ledger", (answer) => (model.ledger = answer)));
    }
    if (isTurned || this.round % 4 === 0) {
      jobs.push(this.keep("v1/validators", (answer) => (model.validators = answer)));
      jobs.push(this.keep("v1/committees", (answer) => (model.committees = answer)));
      jobs.push(this.keep("v1/evidence", (answer) => (model.evidence = answer)));
      jobs.push(this.askChanges());
    }
    await Promise.all(jobs);
    await this.askFallbackBlock();
    this.shape = shape;
    this.round += 1;
  }

  async askViews() {
    const { model } = this;
    const from = Date.now() - this.viewsAt < GAP_MS ? model.viewsFrom : null;
    await this.keep(`v1/views?limit=${VIEWS_ASKED_MAX}${from === null ? "" : `&from=${from}`}`, (answer) => {
      model.onViews(answer, Date.now());
      this.viewsAt = answer.next === null ? Date.now() : 0; // behind: on with the newest
    });
  }

  async askBlocks() {
    const { model } = this;
    const from = Math.max(model.blocks[0]?.height + 1 || 0, model.status.height - BLOCKS_KEPT_MAX + 1, 0);
    if (from > model.status.height) return;
    await this.keep(`v1/blocks?from=${from}&limit=${BLOCKS_KEPT_MAX}`, (answer) => model.onBlocks(answer.blocks));
  }

  /** From the newest known height on, again: more may have happened there. */
  async askChanges() {
    const { model } = this;
    const newest = model.events[0];
    const query = newest ? `from=${newest.height}&limit=1000` : "limit=64";
    await this.keep(`v1/changes?${query}`, (answer) => model.onChanges(answer.changes));
  }

  /** The block with which the fallback began says when that was. */
  async askFallbackBlock() {
    const { model } = this;
    const mode = model.ledger?.mode;
    if (mode?.name !== "fallback" || model.fallbackBlock?.height === mode.since_height) return;
    await this.keep(`v1/blocks/${mode.since_height}?transactions=none`, (answer) => (model.fallbackBlock = answer));
  }

  /** One answer more; that there is none is no reason to stop: the node may be older, or not ready for it. */
  async keep(address, take) {
    if (this.model.missing.has(address.split("?")[0])) return;
    try {
      take(await getJson(address));
    } catch (error) {
      if (error instanceof NoAnswer && error.status === 404) this.model.missing.add(address.split("?")[0]);
    }
  }
}

export class NoAnswer extends Error {
  constructor(address, status) {
    super(`${address}: ${status}`);
    this.status = status;
  }
}

export async function getJson(address) {
  const response = await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS_MAX), cache: "no-store" });
  if (!response.ok) throw new NoAnswer(address, response.status);
  return response.json();
}
