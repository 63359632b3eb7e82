// The live page of one node. It asks (source), remembers (model) and draws; nothing flows the other way.

import { byId, h, redraw, setAttribute, setText } from "./dom.js";
import { drawFeed } from "./feed.js";
import { count, milliseconds } from "./format.js";
import { describeFallback, describeHealth } from "./health.js";
import { Matrix } from "./matrix.js";
import { Model } from "./model.js";
import { computeFinality, drawBlocks, drawLatency, drawLeaders, drawNode, drawStake } from "./panels.js";
import { Source } from "./source.js";
import { ViewDetails } from "./view_details.js";

const SIGNS = {
  ok: "M4 12.5l5.5 5.5L20 7", risk: "M12 3.5L22 20.5H2zM12 10v5M12 17v1.2", halted: "M6 6l12 12M18 6L6 18",
  lost: "M12 4a8 8 0 1 0 .01 0M5 19L19 5", behind: "M12 5v8l5 3M12 3a9 9 0 1 0 .01 0", waiting: "M6 12h.5M12 12h.5M18 12h.5",
};

const model = new Model();
const details = new ViewDetails(model);
const matrix = new Matrix(model, (view) => details.show(view));

function draw() {
  const now = Date.now();
  drawHealth(now);
  drawFallback(now);
  if (!model.status) return;
  matrix.draw();
  details.draw();
  drawStake(model);
  drawLeaders(model);
  drawLatency(model);
  drawBlocks(model, now);
  drawFeed(model);
  drawNode(model);
}

/** What changes with who is connected, before the rest has been asked. */
function drawStatus() {
  drawHealth(Date.now());
  matrix.drawVotes();
  drawStake(model);
  drawNode(model);
}

function drawHealth(now) {
  const health = describeHealth(model, now);
  setAttribute(byId("health"), "data-level", health.level);
  setAttribute(document.body, "data-level", health.level);
  setAttribute(byId("sign"), "d", SIGNS[health.level]);
  redraw(byId("sentence"), [health.sentence, health.alarm], () => mark(health.sentence, health.alarm));
  setText(byId("detail"), health.detail);
  setText(byId("announcement"), health.announcement);
  if (!model.status) return;
  const { status } = model;
  setText(byId("network"), status.network);
  setText(byId("served"), `seen from ${status.validator}`);
  document.title = `${health.level === "ok" ? "" : "! "}${status.validator} · ${status.network}`;
  const figures = [
    ["Height", count(status.height)], ["View", count(status.view)], ["Epoch", count(status.epoch)],
    ["Leader", status.leader ?? "–"], ["Finality", milliseconds(computeFinality(model))],
    ["Mempool", `${count(status.mempool.transactions)} waiting`],
  ];
  redraw(byId("figures"), figures, () => figures.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** The sentence, with the words that alarm set apart. */
function mark(sentence, alarm) {
  const place = alarm ? sentence.indexOf(alarm) : -1;
  if (place < 0) return [document.createTextNode(sentence)];
  return [document.createTextNode(sentence.slice(0, place)), h("em", {}, alarm), document.createTextNode(sentence.slice(place + alarm.length))];
}

function drawFallback(now) {
  const fallback = describeFallback(model, now);
  byId("fallback").hidden = fallback === null;
  if (fallback === null) return;
  setText(byId("fallback-since"), fallback.since);
  setText(byId("fallback-why"), fallback.why);
  setText(byId("fallback-end"), fallback.end);
  byId("fallback-share").value = fallback.share;
}

function drawLegend() {
  const cell = (name, text) => h("span", {}, h("i", { class: `cell ${name}`, "data-colour": "0" }), text);
  const glyph = (kind, text) => h("span", {}, h("i", { class: `glyph ${kind}` }), text);
  byId("legend").append(
    h("span", {}, "colour: leader"), cell("decided", "decided"), cell("decided empty", "empty"), cell("certified", "certified"),
    cell("timed_out", "timed out"), cell("decided fallback", "fallback committee"), cell("open", "under way"),
    glyph("quorum", "quorum vote"), glyph("finalize", "finalize vote"), glyph("timeout", "timeout vote"), glyph("none", "none seen"),
  );
}

drawLegend();
draw();
new Source(model, drawStatus, draw).start();
setInterval(() => document.hidden || drawHealth(Date.now()), 1000); // time passes although no answer comes
