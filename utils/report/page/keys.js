"use strict";
/* The keyboard; the help dialog of report.html lists the same keys. */
const keys = (() => {
  const { data } = model;

  function selectNext(direction) {
    const row = lanes.currentRow;
    if (!row || !row.parts.length) return;
    const part = lanes.findSelected();
    let next;
    if (part && part.speaker === row.speaker) {
      const place = row.parts.findIndex((one) => one.start === part.start) + direction;
      next = row.parts[Math.min(Math.max(0, place), row.parts.length - 1)];
    } else {
      const frame = player.time() * data.fps;
      const later = row.parts.filter((one) => one.stop > frame);
      const earlier = row.parts.filter((one) => one.start <= frame);
      next = direction > 0 ? later[0] || row.parts.at(-1) : earlier.at(-1) || row.parts[0];
    }
    player.seek(next.start / data.fps);
    lanes.reveal(next.start / data.fps);
    lanes.select(next);
  }

  function withSelected(action) {
    const part = lanes.findSelected();
    if (part) action(part);
    else format.toast("Select speech first: [ and ] go from one to the next");
  }

  const frame = () => overlay.frameAt(player.time());

  function addHere() {
    const row = lanes.currentRow;
    if (row) corrections.draw(row.speaker, frame(), frame() + data.fps);
  }

  const row = () => lanes.currentRow;

  const PLAIN = {
    " ": player.toggle,
    k: player.toggle,
    j: () => player.seek(player.time() - 5),
    l: () => player.seek(player.time() + 5),
    Home: () => player.seek(data.start_s),
    End: () => player.seek(data.stop_s),
    ArrowLeft: () => player.step(-1),
    ArrowRight: () => player.step(1),
    ArrowUp: () => lanes.focusRow(lanes.current - 1),
    ArrowDown: () => lanes.focusRow(lanes.current + 1),
    Enter: () => row() && names.rename(row().speaker),
    e: () => row() && !row().offscreen && names.openMenu(row().speaker, row().name),
    "[": () => selectNext(-1),
    "]": () => selectNext(1),
    m: () => withSelected((part) => corrections.openMoveMenu(part, lanes.rowOf(part.speaker).name)),
    Delete: () => withSelected((part) => corrections.move(part, edits.NOBODY)),
    Backspace: () => withSelected((part) => corrections.move(part, edits.NOBODY)),
    i: () => withSelected(() => corrections.setEnd("start", frame())),
    o: () => withSelected(() => corrections.setEnd("stop", frame())),
    n: addHere,
    d: lanePointer.toggleDrawing,
    b: overlay.cycle,
    "+": () => lanes.zoom(2),
    "=": () => lanes.zoom(2),
    "-": () => lanes.zoom(0.5),
    0: lanes.fit,
    "?": () => format.byId("help-dialog").showModal(),
    Escape: () => lanes.select(null),
  };
  const SHIFTED = {
    ArrowLeft: () => player.seek(player.time() - 1),
    ArrowRight: () => player.seek(player.time() + 1),
    "+": PLAIN["+"],
    "?": PLAIN["?"],
  };
  const WITH_CONTROL = { z: panel.undo, y: panel.redo, s: exportsOf.saveEdits };
  const WITH_BOTH = { z: panel.redo };

  /** Keys that the focused element needs itself. */
  function isTaken(event) {
    const target = event.target;
    if (target.closest("dialog, .menu")) return true;
    if (target.matches("input[type=range], input[type=radio], select")) {
      return /^(Arrow|Home|End|Page| |Enter)/.test(event.key);
    }
    if (target.matches("input, textarea")) return true;
    return target.matches("button") && (event.key === " " || event.key === "Enter");
  }

  function onKey(event) {
    if (event.altKey) return;
    const control = event.ctrlKey || event.metaKey;
    if (isTaken(event) && !(control && event.target.matches("input[type=range]"))) return;
    const table = control
      ? event.shiftKey ? WITH_BOTH : WITH_CONTROL
      : event.shiftKey ? SHIFTED : PLAIN;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!Object.hasOwn(table, key)) return;
    event.preventDefault();
    table[key]();
    if (/^(Arrow(Left|Right)|Home|End|j|l)$/.test(key)) {
      lanes.reveal(player.time());
      address.update();
    }
  }

  return { start: () => document.addEventListener("keydown", onKey) };
})();
