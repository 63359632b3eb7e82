// Whether the network finalizes, who is silent, and how many more may be. Pure: a model and a time in, words out.

import { count, duration, list, plural, rate } from "./format.js";

// A connected validator is silent when it missed some views and a moment, or when nothing came for long: of a halted
// network no view ends.
const QUIET_VIEWS = 3;
const QUIET_MS = 2000;
const LONG_MS = 5000; // of silence or without a block: an idle network makes two a second, unless it is told otherwise
const SILENT_MS = 2500; // without an answer of the node: a question takes it milliseconds

/** What is long here: some views more than the last ones that succeeded took. */
function computeLong(model) {
  const decided = model.views.filter((view) => view.outcome === "decided" && view.ended_ms !== null).slice(-QUIET_VIEWS);
  return Math.max(LONG_MS, ...decided.map((view) => 3 * (view.ended_ms - view.started_ms)));
}

/** "self", "voting", "quiet" (connected, but no vote of it is seen) or "gone" (no connection). */
export function findPresence(model, name) {
  const { status } = model;
  if (!status || name === status.validator) return "self";
  if (!status.peers.includes(name)) return "gone";
  if (!model.views.length) return "voting";
  const newest = Math.max(...Object.values(model.heard)); // of anybody: where nobody says anything, nobody is quiet
  const quietMs = newest - (model.heard[name] ?? model.views[0].started_ms);
  const ended = model.views.filter((view) => view.ended_ms !== null).slice(-QUIET_VIEWS);
  if (quietMs > computeLong(model)) return "quiet";
  const hasMissed = ended.length === QUIET_VIEWS && !ended.some((view) => hasVoted(view, name));
  return hasMissed && quietMs > QUIET_MS ? "quiet" : "voting";
}

export const hasVoted = (view, name) =>
  view.voters.quorum.has(name) || view.voters.finalize.has(name) || view.voters.timeout.has(name);

export const isSilent = (presence) => presence === "gone" || presence === "quiet";

/** Stake that answers, and how many validators may be lost before it is less than a quorum. */
export function computeMargin(model) {
  const { members } = model;
  if (!members.length) return null;
  const total = model.validators.total;
  const threshold = model.validators.success_threshold ?? Math.floor((total * 2) / 3) + 1;
  const honest = model.validators.one_honest_threshold ?? Math.floor(total / 3) + 1;
  const silent = members.filter((member) => isSilent(findPresence(model, member.name)));
  const present = members.filter((member) => !silent.includes(member)).sort((one, other) => other.weight - one.weight);
  const answering = present.reduce((sum, member) => sum + member.weight, 0);
  let [left, losses] = [answering, 0];
  while (left >= threshold && losses < present.length) left -= present[losses++].weight;
  const critical = present.filter((member) => answering - member.weight < threshold);
  return { total, threshold, honest, silent, present, answering, losses, critical };
}

/**
 * level: ok, risk, halted, behind, lost or waiting. `sentence` has figures, `announcement` changes with the state alone,
 * `alarm` is the part of the sentence that says who is silent.
 */
export function describeHealth(model, now) {
  const { status } = model;
  if (!status) return say("waiting", model.lost ? "No answer from the node yet." : "Asking the node…");
  const unanswered = now - (model.lost ?? model.answeredAt);
  if (model.lost !== null || unanswered > SILENT_MS) {
    const since = duration(unanswered / 1000);
    return say("lost", `No answer from ${status.validator} since ${since}.`, `No answer from ${status.validator}.`,
      "What is shown below is what it said last. This page goes on asking.");
  }
  if (status.behind) {
    const text = `${status.validator} is catching up.`;
    return say("behind", text, text,
      `It has block ${count(status.height)} and knows that there are newer ones. What it shows is old; other nodes are ahead.`);
  }
  const margin = computeMargin(model);
  if (margin === null) return say("waiting", "Asking who votes…");
  const names = list(margin.silent.map((member) => member.name));
  const silence = margin.silent.length ? `${names} ${margin.silent.length > 1 ? "are" : "is"} silent` : null;
  if (margin.answering < margin.threshold) {
    const missing = margin.threshold - margin.answering;
    return say("halted", `Halted: ${silence}.`, `Halted: ${silence}.`,
      `${count(margin.answering)} of ${count(margin.total)} stake answers; finality needs ${count(margin.threshold)}. ` +
      `It goes on as soon as validators with ${count(missing)} stake are back: nothing is lost.`);
  }
  const stalledMs = model.progressAt === null ? 0 : now - model.progressAt;
  if (stalledMs > computeLong(model)) {
    const text = `Nothing finalized for ${duration(stalledMs / 1000)}.`;
    return say("risk", text, "Nothing is finalized.", `Enough stake answers${silence ? `, though ${silence}` : ""}. View ${count(status.view)} is waiting for ${status.leader ?? "its leader"}.`);
  }
  return describeRunning(model, margin, silence, now);
}

function describeRunning(model, margin, silence, now) {
  const speed = model.blocksPerSecond;
  const waited = duration((now - model.progressAt) / 1000);
  const pace = speed === null ? `Finalized block ${count(model.status.height)}.`
    : speed === 0 ? `No new block for ${waited}.` : `Finalizing ${rate(speed)} blocks/s.`;
  const loss = describeLoss(margin);
  const who = silence ?? (margin.present.length === 1 ? "The only validator votes" : `All ${margin.present.length} validators vote`);
  const text = silence ? `${silence}; ${loss}.` : `${who}; ${loss}.`;
  const level = margin.losses <= 1 && margin.present.length > 1 ? "risk" : "ok";
  return say(level, `${pace} ${text}`, `Finalizing. ${text}`, "", silence);
}

/** The margin in words: what the next losses do. */
function describeLoss({ losses, critical, present, silent }) {
  if (present.length === 1) return "the network is as available as that one";
  if (losses > 1) {
    const free = losses - 1;
    const who = silent.length ? `${free === 1 ? "one" : free} more` : `${free === 1 ? "one" : free} of them`;
    return `any ${who} may fail without a halt`;
  }
  if (critical.length === present.length) return "one more validator lost halts the network";
  return `losing ${list(critical.map((member) => member.name))} halts the network`.replace(/ and ([^ ]+) halts/, " or $1 halts");
}

function say(level, sentence, announcement = sentence, detail = "", alarm = null) {
  return { level, sentence, announcement, detail, alarm };
}

/** What an operator wants to know of the mode, or null in normal mode. */
export function describeFallback(model, now) {
  const mode = model.ledger?.mode;
  if (!mode || mode.name !== "fallback") return null;
  const began = model.events.find((event) => event.kind === "fallback_activated");
  const block = model.blocks.find((candidate) => candidate.height === mode.since_height) ?? model.fallbackBlock;
  const since = block && block.height === mode.since_height
    ? `for ${duration((model.nodeNow(now) - block.timestamp_ms) / 1000)}, since height ${count(mode.since_height)}`
    : `since height ${count(mode.since_height)}`;
  const left = Math.max(0, mode.handback_leaves - mode.clean_leaves);
  return {
    since,
    why: began?.reason.split(":")[0] ?? "too many views were skipped in a row",
    end: `It hands the lead back after ${left === 1 ? "one more leaf" : `${left} more leaves`} ` +
      `without a skipped view (${mode.clean_leaves} of ${mode.handback_leaves})` +
      (mode.relapses ? `; the term has doubled ${plural(mode.relapses, "time")} after relapses.` : "."),
    share: mode.handback_leaves ? mode.clean_leaves / mode.handback_leaves : 0,
  };
}
