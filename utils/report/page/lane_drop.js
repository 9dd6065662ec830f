"use strict";
/* Speech that is dragged: whose lane the pointer is over, and what happens when it is dropped. */
const laneDrop = (() => {
  const AWAY = 6; // pixels out of its lane before speech is dragged
  const SCROLL = 14; // pixels with each move near the upper or lower edge of the lanes
  const box = format.byId("lanes");
  const zones = format.byId("drop-zones");
  const label = format.byId("dragged");
  let open = false;
  let to = null; // a speaker, nobody, or null: where nothing would change

  function leaves(row, event) {
    const { top, bottom } = row.canvas.getBoundingClientRect();
    return event.clientY < top - AWAY || event.clientY > bottom + AWAY;
  }

  /** Who gets the speech at a place of the window. */
  function targetAt(part, event) {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    const zone = under?.closest("[data-to]");
    const lane = under?.closest(".lane");
    const row = lane && lanes.rows.find((one) => one.element === lane);
    const found = zone ? zone.dataset.to : row ? row.speaker : null;
    return found === part.speaker ? null : found;
  }

  function over(part, event) {
    open = true;
    zones.hidden = label.hidden = false;
    scroll(event.clientY);
    zones.querySelector("[data-to=offscreen]").hidden = part.speaker === edits.OFFSCREEN;
    to = targetAt(part, event);
    for (const row of lanes.rows) row.element.classList.toggle("target", row.speaker === to);
    for (const zone of zones.children) zone.classList.toggle("target", zone.dataset.to === to);
    const whose = to === null ? "…" : to === edits.NOBODY ? "nobody" : model.speakerName(to);
    label.textContent = `${corrections.span(part.start, part.stop)} → ${whose}`;
    label.style.transform = `translate(${event.clientX + 14}px, ${event.clientY + 14}px)`;
  }

  /** Bring lanes into view that a dragged part comes near to. */
  function scroll(y) {
    const { top, bottom } = box.getBoundingClientRect();
    if (y > bottom - 2 * SCROLL) box.scrollTop += SCROLL;
    else if (y > top && y < top + 5 * SCROLL) box.scrollTop -= SCROLL;
  }

  function close() {
    open = false;
    zones.hidden = label.hidden = true;
    for (const row of lanes.rows) row.element.classList.remove("target");
  }

  function drop(part) {
    close();
    if (to !== null) corrections.move(part, to);
  }

  return { isOpen: () => open, leaves, over, drop, close };
})();
