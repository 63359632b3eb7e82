// The views side by side: what became of each, who voted in it, and which faults were running. One column is one view.

import { byId, h, keyed, redraw, s, setAttribute, setText } from "./dom.js";
import { count, milliseconds, plural } from "./format.js";
import { findPresence, hasVoted, isSilent } from "./health.js";
import { COLOURS, keyOf } from "./model.js";

const COLUMN = 14; // px, gap included
const ROW = 24; // px, of a validator
const ROW_CLOSE = 15; // where there are many
const MEMBERS_APART_MAX = 24;
const FAULT_ROWS_MAX = 4;

export class Matrix {
  /** `onChoose(view | null)` is told what the reader looks at. */
  constructor(model, onChoose) {
    this.model = model;
    this.onChoose = onChoose;
    this.columns = 40;
    this.shown = []; // the views that are drawn, oldest first
    this.chosen = null; // key of the one whose details are open
    this.focused = null; // key of the one that Tab reaches
    this.isHeld = false;
    this.timeline = h("div", {
      class: "timeline", role: "listbox", "aria-label": "Views, oldest first. Enter opens one, Escape lets them run again.",
      "aria-orientation": "horizontal", onkeydown: (event) => this.onKey(event), onclick: (event) => this.onClick(event),
    });
    this.votes = s("svg", { class: "votes", role: "img", onclick: (event) => this.onGridClick(event) });
    this.faults = s("svg", { class: "faults", role: "img" });
    this.axis = s("svg", { class: "axis", "aria-hidden": "true", height: 16 });
    this.plot = h("div", { class: "plot" }, this.timeline, this.axis, this.votes, this.faults);
    this.names = h("ul", { class: "names" });
    this.shares = h("ul", { class: "shares", "aria-hidden": "true" });
    this.faultNames = h("p", { class: "fault-title soft", hidden: true }, "faults");
    byId("matrix").append(
      h("div", { class: "labels" }, h("p", { class: "leader-title soft" }, "outcome"), this.names, this.faultNames),
      this.plot, h("div", { class: "right" }, this.shares),
    );
    byId("hold").addEventListener("click", () => this.hold(!this.isHeld));
    new ResizeObserver(() => this.onResize()).observe(this.plot);
  }

  onResize() {
    const columns = Math.max(8, Math.floor(this.plot.clientWidth / COLUMN));
    if (columns === this.columns) return;
    this.columns = columns;
    if (!this.isHeld) this.draw();
  }

  hold(isHeld) {
    this.isHeld = isHeld;
    const button = byId("hold");
    setAttribute(button, "aria-pressed", isHeld);
    setText(button, isHeld ? "Resume" : "Pause");
    if (!isHeld) this.choose(null);
    this.draw();
  }

  draw() {
    const { model } = this;
    if (this.isHeld) {
      const fresh = new Map(model.views.map((view) => [keyOf(view), view]));
      this.shown = this.shown.map((view) => fresh.get(keyOf(view)) ?? view);
    } else {
      this.shown = model.views.slice(-this.columns);
    }
    const { shown } = this;
    setText(byId("views-note"), this.describe());
    if (!shown.some((view) => keyOf(view) === this.focused)) this.focused = shown.length ? keyOf(shown.at(-1)) : null;
    keyed(this.timeline, shown, keyOf, () => h("div", { role: "option" }), (cell, view) => this.drawCell(cell, view));
    this.drawAxis();
    this.drawVotes();
    this.drawFaults();
  }

  describe() {
    if (!this.shown.length) return this.model.missing.has("v1/views") ? "This node keeps no record of its views." : "No view yet.";
    const failed = this.shown.filter((view) => view.outcome === "timed_out").length;
    const held = this.isHeld ? "Paused. " : "";
    return `${held}The last ${plural(this.shown.length, "view")}, as ${this.model.status.validator} saw them: ${failed ? `${failed} timed out` : "none timed out"}.`;
  }

  drawCell(cell, view) {
    const key = keyOf(view);
    const isEmpty = view.proposal !== null && view.proposal.transactions === 0;
    setAttribute(cell, "class", ["cell", view.outcome, isEmpty && "empty", view.committee === "fallback" && "fallback"].filter(Boolean).join(" "));
    setAttribute(cell, "data-colour", this.model.colourOf(view.leader));
    setAttribute(cell, "aria-label", describeView(view));
    setAttribute(cell, "aria-selected", key === this.chosen);
    setAttribute(cell, "tabindex", key === this.focused ? 0 : -1);
    setAttribute(cell, "title", describeView(view));
    cell.view = view;
  }

  drawAxis() {
    const marks = [];
    this.shown.forEach((view, column) => {
      if (view.view % 10 === 0) marks.push([column * COLUMN + COLUMN / 2 - 1, count(view.view)]);
    });
    redraw(this.axis, marks, () => marks.map(([x, text]) => s("text", { x, y: 12 }, text)));
  }

  drawVotes() {
    const { model, shown } = this;
    const { members } = model;
    const presence = members.map((member) => findPresence(model, member.name));
    const ended = shown.filter((view) => view.ended_ms !== null);
    const high = members.length > MEMBERS_APART_MAX ? ROW_CLOSE : ROW;
    byId("matrix").style.setProperty("--row", `${high}px`);
    this.drawNames(members, presence, ended);
    const height = members.length * high;
    setAttribute(this.votes, "height", height);
    setAttribute(this.votes, "aria-label", describeVotes(members, ended));
    const chosen = shown.findIndex((view) => keyOf(view) === this.chosen);
    const lanes = presence.map((now, place) => ({
      class: isSilent(now) ? "lane silent" : "lane", d: `M0 ${(place + 0.5) * high}h${this.columns * COLUMN}`,
    }));
    const paths = [...lanes, ...computeGlyphs(members, shown, model, high)];
    redraw(this.votes, [paths, chosen, height], () => [
      ...paths.map((path) => s("path", path)),
      chosen < 0 ? null : s("rect", { class: "column", x: chosen * COLUMN - 1, y: 0, width: COLUMN, height }),
    ]);
  }

  drawNames(members, presence, ended) {
    const { model } = this;
    keyed(this.names, members, (member) => member.name, () => h("li", {}, h("i", { "aria-hidden": "true" }), h("span")), (row, member) => {
      const now = presence[members.indexOf(member)];
      setAttribute(row, "data-presence", now);
      setAttribute(row, "title", `${member.name}: ${PRESENCE[now]}`);
      setAttribute(row.firstChild, "data-colour", model.colourOf(member.name));
      setText(row.lastChild, member.name);
      setAttribute(row.lastChild, "aria-label", `${member.name}, ${PRESENCE[now]}`);
    });
    keyed(this.shares, members, (member) => member.name, () => h("li"), (row, member) => {
      const voted = ended.filter((view) => hasVoted(view, member.name)).length;
      setText(row, ended.length ? `${Math.round((100 * voted) / ended.length)} %` : "");
    });
  }

  drawFaults() {
    const { model, shown } = this;
    const end = Math.max(model.nodeNow(Date.now()), shown.at(-1)?.started_ms ?? 0);
    const first = shown[0]?.started_ms ?? Infinity;
    const faults = model.faults.filter((fault) => fault.since_ms <= end && (fault.until_ms ?? Infinity) >= first).slice(-FAULT_ROWS_MAX);
    this.faultNames.hidden = !faults.length;
    setAttribute(this.faults, "height", faults.length * ROW);
    setAttribute(this.faults, "aria-label", faults.length ? `Faults: ${faults.map(describeFault).join("; ")}` : null);
    const bands = faults.map((fault) => {
      const x = this.place(fault.since_ms);
      return { text: describeFault(fault), x, width: Math.max(4, this.place(fault.until_ms ?? end) - x) };
    });
    redraw(this.faults, bands, () => bands.flatMap(({ text, x, width }, row) => {
      const isLate = x + 8 * text.length > this.columns * COLUMN;
      return [
        s("rect", { x, y: row * ROW + 3, width, height: ROW - 6, rx: 3 }, s("title", {}, text)),
        s("text", { x: isLate ? x - 5 : x + 5, y: row * ROW + 16, "text-anchor": isLate ? "end" : "start" }, text),
      ];
    }));
  }

  /** Where a moment of the node's clock lies on the row of views, in px. */
  place(ms) {
    const { shown } = this;
    if (!shown.length || ms <= shown[0].started_ms) return 0;
    const column = shown.findLastIndex((view) => view.started_ms <= ms);
    const next = shown[column + 1]?.started_ms ?? shown[column].ended_ms ?? this.model.nodeNow(Date.now());
    const share = Math.min(1, (ms - shown[column].started_ms) / Math.max(1, next - shown[column].started_ms));
    return (column + share) * COLUMN;
  }

  // What the reader does

  choose(key) {
    this.chosen = key;
    if (key !== null) this.focused = key;
    this.onChoose(key === null ? null : this.shown.find((view) => keyOf(view) === key) ?? null);
  }

  onClick(event) {
    const view = event.target.closest("[role=option]")?.view;
    if (view) this.open(view);
  }

  onGridClick(event) {
    const view = this.shown[Math.floor((event.clientX - this.votes.getBoundingClientRect().left) / COLUMN)];
    if (view) this.open(view);
  }

  /** A reader who looks at one view does not want it to run away. */
  open(view) {
    this.choose(keyOf(view) === this.chosen ? null : keyOf(view));
    this.hold(this.chosen !== null);
  }

  onKey(event) {
    const place = this.shown.findIndex((view) => keyOf(view) === this.focused);
    const places = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: this.shown.length - 1 };
    if (event.key in places) {
      this.focused = keyOf(this.shown[Math.min(Math.max(places[event.key], 0), this.shown.length - 1)]);
      if (this.chosen !== null) this.choose(this.focused);
      if (!this.isHeld) this.hold(true);
      else this.draw();
      this.timeline.querySelector("[tabindex='0']")?.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      if (place >= 0) this.open(this.shown[place]);
    } else if (event.key === "Escape") {
      this.hold(false);
    } else {
      return;
    }
    event.preventDefault();
  }
}

const PRESENCE = {
  self: "this node", voting: "takes part", quiet: "connected, but silent", gone: "silent, no connection",
};

export const OUTCOMES = {
  open: "under way", certified: "certified, not final yet", decided: "decided", timed_out: "timed out",
};

/** What stands in a proposal; null transactions: its payload was not opened here. */
export function describeContent({ transactions, payload_bytes }) {
  if (transactions === null) return `${count(payload_bytes)} bytes of payload`;
  return transactions ? plural(transactions, "transaction") : "empty";
}

export function describeView(view) {
  const parts = [`View ${count(view.view)}`, `leader ${view.leader ?? "unknown"}`, OUTCOMES[view.outcome] ?? view.outcome];
  if (view.proposal) parts.push(describeContent(view.proposal));
  if (view.committee === "fallback") parts.push("fallback committee");
  if (view.ended_ms !== null) parts.push(milliseconds(view.ended_ms - view.started_ms));
  return parts.join(", ");
}

function describeVotes(members, ended) {
  const told = members.map((member) => `${member.name} in ${ended.filter((view) => hasVoted(view, member.name)).length}`);
  return `Votes seen in the last ${plural(ended.length, "ended view")}: ${told.join(", ")}.`;
}

const describeFault = (fault) => [fault.fault.replaceAll("_", " "), ...fault.targets].join(" ");

/** One path per kind of mark, whatever the number of validators: a ring, a dot in it, a cross, a dash for nothing. */
function computeGlyphs(members, shown, model, high) {
  const marks = { quorum: "", finalize: "", timeout: "", none: "" };
  const leads = Array.from({ length: COLOURS }, () => "");
  shown.forEach((view, column) => {
    const x = column * COLUMN + COLUMN / 2 - 1;
    members.forEach((member, place) => {
      const y = (place + 0.5) * high;
      const colour = model.colourOf(member.name);
      if (view.leader === member.name && colour !== "none") leads[colour] += `M${x - 6} ${y - high / 2 + 3}h12v${high - 6}h-12z`;
      const [quorum, finalize, timeout] = [view.voters.quorum, view.voters.finalize, view.voters.timeout].map((voters) => voters.has(member.name));
      if (quorum) marks.quorum += `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0`;
      if (finalize) marks.finalize += `M${x - 2} ${y}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0`;
      if (timeout) marks.timeout += `M${x - 4} ${y - 4}l8 8M${x - 4} ${y + 4}l8 -8`;
      if (!quorum && !finalize && !timeout && view.ended_ms !== null) marks.none += `M${x - 2} ${y}h4`;
    });
  });
  return [
    ...leads.map((d, colour) => ({ class: "lead", "data-colour": colour, d })),
    ...Object.entries(marks).map(([kind, d]) => ({ class: `mark ${kind}`, d })),
  ];
}
