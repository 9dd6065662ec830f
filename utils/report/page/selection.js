"use strict";
/* The card of the selected speech: hear it, trim it, give it to somebody else. */
const selection = (() => {
  const { data } = model;
  const { byId, element } = format;

  function button(label, title, action) {
    const made = element("button", { title }, label);
    made.addEventListener("click", action);
    return made;
  }

  /** A row of buttons that move one end of the speech. */
  function ends(part, end) {
    const frame = part[end];
    const starts = end === "start";
    const word = starts ? "starts" : "stops";
    const set = (place) => corrections.setEnd(end, Math.round(place));
    const here = `Speech ${word} at the current time (${starts ? "I" : "O"})`;
    const row = element(
      "div",
      { className: "ends" },
      element("span", { className: "faint" }, word),
      button("−", `Speech ${word} one frame earlier`, () => set(frame - 1)),
      element("b", {}, format.clock(frame / data.fps)),
      button("+", `Speech ${word} one frame later`, () => set(frame + 1)),
      button("here", here, () => set(overlay.frameAt(player.time()))),
    );
    row.querySelectorAll("button").forEach((one) => one.setAttribute("aria-label", one.title));
    return row;
  }

  function moves(part) {
    const play = () => player.playRange(part.start / data.fps, part.stop / data.fps);
    const nobody = () => corrections.move(part, edits.NOBODY);
    const away = () => corrections.move(part, edits.OFFSCREEN);
    const to = button("Move to …", "Give this speech to somebody else (M)", () =>
      corrections.openMoveMenu(part, to),
    );
    to.setAttribute("aria-haspopup", "menu");
    const row = element(
      "div",
      { className: "moves" },
      button("Play", "Play this speech", play),
      to,
      button("Nobody", "Nobody speaks there (Delete)", nobody),
    );
    if (part.speaker !== edits.OFFSCREEN) {
      row.append(button("Off-screen", "Somebody who is not visible speaks", away));
    }
    return row;
  }

  function facts(part) {
    const found = [format.duration((part.stop - part.start) / data.fps)];
    if (part.score !== null) found.push(`score ${(part.score / data.score_units).toFixed(2)}`);
    if (part.track === null && part.speaker !== edits.OFFSCREEN) found.push("face not visible");
    return element("p", { className: "faint" }, found.join(" · "));
  }

  function show(part) {
    const box = byId("selection");
    if (!part) {
      const hint = "Click speech in a lane to hear it, trim it, or give it to somebody else.";
      box.replaceChildren(element("p", { className: "hint" }, hint));
      return;
    }
    const title = element("h2", {}, model.speakerName(part.speaker));
    const face = corrections.faceOf(part.speaker);
    if (face) title.prepend(element("img", { className: "face", alt: "", src: face }));
    box.replaceChildren(title, facts(part), ends(part, "start"), ends(part, "stop"), moves(part));
  }

  function start() {
    model.listen(() => show(lanes.findSelected()));
    lanes.onSelect(show);
  }

  return { start };
})();
