"use strict";
/* Corrections of speech: each makes one edit, and says what it did. */
const corrections = (() => {
  const { data } = model;

  function apply(edit, words) {
    model.add(edit);
    format.toast(`${words} · Ctrl+Z undoes it`);
  }

  function span(start, stop) {
    return `${format.clock(start / data.fps)} – ${format.clock(stop / data.fps)}`;
  }

  function trim(part, start, stop) {
    if (start === part.start && stop === part.stop) return;
    const { speaker: person } = part;
    const places = { start: part.start, stop: part.stop, new_start: start, new_stop: stop };
    apply({ edit: "trim", person, ...places }, `Speech is now ${span(start, stop)}`);
    lanes.selectAt(person, start);
  }

  /** Move one end of the selected segment to a frame, if something is left of it. */
  function setEnd(end, frame) {
    const part = lanes.findSelected();
    if (!part) return;
    const [start, stop] = end === "start" ? [frame, part.stop] : [part.start, frame];
    if (start >= 0 && start < stop) trim(part, start, stop);
    else format.toast("Speech must start before it stops");
  }

  function draw(speaker, start, stop) {
    const words = `${model.speakerName(speaker)} speaks ${span(start, stop)}`;
    apply({ edit: "draw", person: speaker, start, stop }, words);
    lanes.selectAt(speaker, start);
  }

  function move(part, to) {
    const { speaker: person, start, stop } = part;
    const words =
      to === edits.NOBODY ? "Nobody speaks there" : `Speech is now ${model.speakerName(to)}'s`;
    apply({ edit: "move", person, start, stop, to }, words);
    if (to === edits.NOBODY) lanes.select(null);
    else lanes.selectAt(to, Math.floor(start + 0.5));
  }

  function faceOf(speaker) {
    const row = lanes.rowOf(speaker);
    const image = row && row.element.querySelector("img.face");
    return image ? image.src : null;
  }

  function openMoveMenu(part, at) {
    const people = lanes.rows.filter((row) => !row.offscreen && row.speaker !== part.speaker);
    const items = people.map((row) => ({
      label: model.speakerName(row.speaker),
      image: faceOf(row.speaker),
      action: () => move(part, row.speaker),
    }));
    items.push({ label: "Nobody", hint: "Del", action: () => move(part, edits.NOBODY) });
    if (part.speaker !== edits.OFFSCREEN) {
      items.push({ label: "Off-screen", action: () => move(part, edits.OFFSCREEN) });
    }
    menus.open([{ heading: "This speech is that of …" }, ...items], at);
  }

  return { apply, trim, setEnd, draw, move, openMoveMenu, span, faceOf };
})();
