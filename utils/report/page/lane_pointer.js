"use strict";
/* What the mouse, a finger or a pen does on lanes: seek, select, trim, draw, move, zoom. */
const lanePointer = (() => {
  const CLICK = 3; // pixels that a click may move
  const { data } = model;
  let drawing = false; // whether a drag adds speech

  const frameOf = (time_s) => Math.max(0, Math.round(time_s * data.fps));

  function partAt(row, x) {
    const frame = lanes.timeAt(x, row.canvas) * data.fps;
    return row.parts.find((part) => part.start <= frame && frame < part.stop) || null;
  }

  /** Which end of the selected segment is at x: "start", "stop" or null. */
  function gripAt(row, x) {
    const part = row.selected;
    if (!part) return null;
    const { at } = laneCanvas.scaleOf(lanes.view, row.canvas.clientWidth);
    const [left, right] = [at(part.start / data.fps), at(part.stop / data.fps)];
    if (Math.abs(x - right) <= laneCanvas.GRIP) return "stop";
    return Math.abs(x - left) <= laneCanvas.GRIP ? "start" : null;
  }

  /** Follow a pointer until it is released: a gesture has move(x, event), end(moved), cancel(). */
  function drag(row, event, gesture) {
    const { canvas } = row;
    const left = canvas.getBoundingClientRect().left;
    const origin = event.clientX;
    let moved = false;
    canvas.setPointerCapture(event.pointerId);
    const move = (next) => {
      moved = moved || Math.abs(next.clientX - origin) > CLICK;
      gesture.move(next.clientX - left, next);
    };
    const end = (last) => {
      canvas.removeEventListener("pointermove", move);
      canvas.removeEventListener("pointerup", end);
      canvas.removeEventListener("pointercancel", end);
      document.removeEventListener("keydown", escape, true);
      row.drawn = null;
      if (last.type === "pointerup") gesture.end(moved);
      else gesture.cancel?.();
      lanes.draw();
    };
    const escape = (pressed) => {
      if (pressed.key !== "Escape") return;
      pressed.stopPropagation();
      canvas.releasePointerCapture(event.pointerId);
      end(pressed);
    };
    document.addEventListener("keydown", escape, true);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
  }

  /** Go along; speech that is dragged out of its lane is given to whoever it is dropped on. */
  function seeking(row, x) {
    const part = partAt(row, x);
    const go = (place) => player.seek(lanes.timeAt(Math.max(0, place), row.canvas));
    go(x);
    return {
      move: (place, event) => {
        if (part && (laneDrop.isOpen() || laneDrop.leaves(row, event))) laneDrop.over(part, event);
        else go(place);
      },
      end: (moved) => {
        if (laneDrop.isOpen()) laneDrop.drop(part);
        else if (!moved) lanes.select(part);
        address.update();
      },
      cancel: laneDrop.close,
    };
  }

  function trimming(row, end) {
    const part = { ...row.selected };
    const ends = [part.start, part.stop];
    return {
      move: (x) => {
        const frame = frameOf(lanes.timeAt(x, row.canvas));
        if (end === "start") ends[0] = Math.min(frame, part.stop - 1);
        else ends[1] = Math.max(frame, part.start + 1);
        row.drawn = ends;
        player.seek((end === "start" ? ends[0] : ends[1]) / data.fps);
        lanes.draw();
      },
      end: (moved) => {
        if (moved) corrections.trim(part, ...ends);
      },
    };
  }

  function adding(row, x) {
    const first = frameOf(lanes.timeAt(x, row.canvas));
    let ends = [first, first + 1];
    return {
      move: (place) => {
        const frame = frameOf(lanes.timeAt(place, row.canvas));
        ends = [Math.min(first, frame), Math.max(first, frame)];
        row.drawn = ends;
        lanes.draw();
      },
      end: (moved) => {
        if (moved && ends[1] > ends[0]) corrections.draw(row.speaker, ...ends);
      },
    };
  }

  function attach(row) {
    const { canvas } = row;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      row.element.focus({ preventScroll: true });
      const grip = gripAt(row, event.offsetX);
      if (drawing || event.altKey) drag(row, event, adding(row, event.offsetX));
      else if (grip) drag(row, event, trimming(row, grip));
      else drag(row, event, seeking(row, event.offsetX));
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      const grip = !drawing && gripAt(row, event.offsetX);
      canvas.style.cursor = drawing || event.altKey ? "crosshair" : grip ? "ew-resize" : "pointer";
    });
    canvas.addEventListener("wheel", (event) => turn(event, canvas), { passive: false });
    canvas.addEventListener("contextmenu", (event) => {
      const part = partAt(row, event.offsetX);
      if (!part) return;
      event.preventDefault();
      lanes.select(part);
      corrections.openMoveMenu(part, event);
    });
  }

  function turn(event, canvas) {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      lanes.zoom(2 ** (-event.deltaY / 200), lanes.timeAt(event.offsetX, canvas));
    } else if (Math.abs(sideways) > (event.shiftKey ? 0 : Math.abs(event.deltaY))) {
      const span_s = lanes.view.stop_s - lanes.view.start_s;
      lanes.pan((sideways / canvas.clientWidth) * span_s);
    } else return;
    event.preventDefault();
  }

  /** In the overview, a click goes to a time and shows it. */
  function attachOverview(canvas) {
    const { whole, view } = lanes;
    const go = (event) => {
      const share = Math.min(Math.max(event.offsetX / canvas.clientWidth, 0), 1);
      const time_s = whole.start_s + share * (whole.stop_s - whole.start_s);
      const span_s = view.stop_s - view.start_s;
      lanes.show(time_s - span_s / 2, span_s);
      player.seek(time_s);
    };
    follow(canvas, go);
  }

  function attachAxis(canvas) {
    follow(canvas, (event) => player.seek(lanes.timeAt(event.offsetX, canvas)));
    canvas.addEventListener("wheel", (event) => turn(event, canvas), { passive: false });
  }

  function follow(canvas, go) {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      go(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) go(event);
    });
    canvas.addEventListener("pointerup", () => address.update());
  }

  function setDrawing(on) {
    drawing = on;
    const button = format.byId("draw");
    button.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("drawing", on);
  }

  function start() {
    format.byId("draw").addEventListener("click", () => setDrawing(!drawing));
  }

  return { start, attach, attachOverview, attachAxis, toggleDrawing: () => setDrawing(!drawing) };
})();
