"use strict";
/* Draw lanes, the axis and the overview into their canvases. */
const laneCanvas = (() => {
  const TICKS_S = [0.04, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const TICK_PIXELS = 92; // between labels of the axis, at least
  const COARSE_S = 0.2; // per pixel: then single segments cannot be told apart
  const GRIP = 8; // pixels at the ends of the selected segment
  const { data } = model;
  let colours = {};

  /** Read the colours of the style sheet; call it again when they change. */
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ink", "faint", "grid", "present", "speaking", "curve", "cut", "offscreen"];
    for (const name of [...names, "accent", "paper", "doubt"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  /** Prepare a canvas for drawing in CSS pixels. */
  function prepare(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return { context, width, height };
  }

  /** Places of times across a canvas of some width. */
  function scaleOf(view, width) {
    const per_s = width / (view.stop_s - view.start_s);
    return { per_s, at: (time_s) => (time_s - view.start_s) * per_s };
  }

  function bar(context, left, right, top, height, radius = 5) {
    const width = Math.max(1.5, right - left);
    context.beginPath();
    context.roundRect(left, top, width, height, Math.min(radius, width / 2));
  }

  function tickStep(per_s) {
    return TICKS_S.find((step) => step * per_s >= TICK_PIXELS) || 14400;
  }

  function ticks(view, per_s) {
    const step = tickStep(per_s);
    const first = Math.ceil(view.start_s / step - 1e-6);
    const found = [];
    for (let i = first; i * step <= view.stop_s + 1e-6; i++) found.push(i * step);
    return { step, times: found };
  }

  function tickText(time_s, step) {
    if (data.stop_s < 60) return `${step < 1 ? time_s.toFixed(step < 0.1 ? 2 : 1) : time_s} s`;
    return format.clock(time_s, step < 0.1 ? 2 : step < 1 ? 1 : 0);
  }

  function drawAxis(canvas, view) {
    const { context, width, height } = prepare(canvas);
    const { per_s, at } = scaleOf(view, width);
    const { step, times } = ticks(view, per_s);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const time_s of times) {
      const x = at(time_s);
      const words = tickText(Number(time_s.toFixed(2)), step);
      const half = context.measureText(words).width / 2;
      context.fillStyle = colours.faint;
      context.fillText(words, Math.min(Math.max(x - half, 0), width - 2 * half), height / 2 - 2);
      context.fillStyle = colours.grid;
      context.fillRect(Math.round(x), height - 5, 1, 5);
    }
  }

  function drawGrid(context, view, width, height) {
    const { per_s, at } = scaleOf(view, width);
    context.fillStyle = colours.grid;
    for (const time_s of ticks(view, per_s).times) {
      context.fillRect(Math.round(at(time_s)), 0, 1, height);
    }
    const shown = data.shots.slice(1).filter(([start]) => {
      const x = at(start / data.fps);
      return x >= 0 && x <= width;
    });
    context.fillStyle = colours.cut;
    context.globalAlpha = shown.length > width / 12 ? 0.25 : 0.9;
    for (const [start] of shown) context.fillRect(Math.round(at(start / data.fps)), 0, 1, height);
    context.globalAlpha = 1;
  }

  /** Colour each column of pixels by the part of its time that is speech. */
  function drawShades(context, parts, scale, box, colour) {
    const columns = new Float64Array(Math.ceil(box.width) + 1);
    for (const part of parts) {
      const left = Math.max(0, scale.at(part.start / data.fps));
      const right = Math.min(box.width, scale.at(part.stop / data.fps));
      for (let x = Math.floor(left); x < right; x++) {
        columns[x] += Math.min(right, x + 1) - Math.max(left, x);
      }
    }
    context.fillStyle = colour;
    for (let x = 0; x < columns.length; x++) {
      if (columns[x] < 0.02) continue;
      context.globalAlpha = Math.min(1, 0.15 + 0.85 * columns[x]);
      context.fillRect(x, box.top, 1, box.height);
    }
    context.globalAlpha = 1;
  }

  function hatched(context, colour) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const paint = tile.getContext("2d");
    paint.strokeStyle = colour;
    paint.lineWidth = 2.4;
    for (const shift of [-8, 0, 8]) {
      paint.beginPath();
      paint.moveTo(shift, 8);
      paint.lineTo(shift + 8, 0);
      paint.stroke();
    }
    return context.createPattern(tile, "repeat");
  }

  function drawSegments(context, parts, scale, box, offscreen) {
    for (const part of parts) {
      const [left, right] = [scale.at(part.start / data.fps), scale.at(part.stop / data.fps)];
      if (right < 0 || left > box.width) continue;
      bar(context, left, right, box.top, box.height);
      context.fillStyle = offscreen ? hatched(context, colours.offscreen) : colours.speaking;
      context.fill();
      if (!offscreen) continue;
      context.strokeStyle = colours.offscreen;
      context.stroke();
    }
  }

  /** The smoothed score: the boundary in the middle, bounded towards the edges. */
  function drawCurve(context, track, scale, box) {
    const middle = box.top + box.height / 2;
    const reach = 0.42 * box.height;
    const per_frame = scale.per_s / data.fps;
    const bunch = Math.max(1, Math.floor(1.5 / per_frame)); // frames for each point
    const left = scale.at(track.start / data.fps);
    const first = Math.max(0, Math.floor(-left / per_frame) - bunch);
    const last = Math.min(track.length, Math.ceil((box.width - left) / per_frame) + bunch);
    context.beginPath();
    for (let i = first - (first % bunch); i < last; i += bunch) {
      const stop = Math.min(track.length, i + bunch);
      let sum = 0;
      for (let j = i; j < stop; j++) sum += track.sums[j] / track.counts[j];
      const score = sum / (stop - i) / data.score_units;
      const x = left + ((i + stop) / 2) * per_frame;
      context.lineTo(x, middle - reach * Math.tanh(score / 4));
    }
    context.strokeStyle = colours.curve;
    context.lineWidth = 1.2;
    context.stroke();
  }

  function drawSelection(context, part, scale, box) {
    const [left, right] = [scale.at(part.start / data.fps), scale.at(part.stop / data.fps)];
    bar(context, left - 1, right + 1, box.top - 2, box.height + 4, 6);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2.5;
    context.stroke();
    context.fillStyle = colours.accent;
    for (const x of [left, right]) {
      context.beginPath();
      context.roundRect(x - 3, box.top + box.height / 2 - 9, 6, 18, 3);
      context.fill();
    }
  }

  /**
   * Draw one lane: when its face is visible, and when it speaks. A lane has canvas, tracks (ids),
   * parts, offscreen, selected (a part or null) and drawn (a range of frames or null).
   */
  function drawLane(lane, view) {
    const { context, width, height } = prepare(lane.canvas);
    const scale = scaleOf(view, width);
    const box = { width, top: height * 0.17, height: height * 0.66 };
    drawGrid(context, view, width, height);
    context.fillStyle = colours.present;
    for (const number of lane.tracks) {
      const track = data.trackById.get(number);
      const [left, right] = [scale.at(track.start / data.fps), scale.at(track.stop / data.fps)];
      bar(context, left, right, box.top, box.height);
      context.fill();
    }
    if (1 / scale.per_s > COARSE_S) {
      const colour = lane.offscreen ? colours.offscreen : colours.speaking;
      drawShades(context, lane.parts, scale, box, colour);
    } else {
      drawSegments(context, lane.parts, scale, box, lane.offscreen);
      for (const number of lane.tracks) drawCurve(context, data.trackById.get(number), scale, box);
    }
    if (lane.selected) drawSelection(context, lane.selected, scale, box);
    if (lane.drawn) {
      const [start, stop] = lane.drawn;
      bar(context, scale.at(start / data.fps), scale.at(stop / data.fps), box.top, box.height);
      context.fillStyle = colours.accent;
      context.globalAlpha = 0.55;
      context.fill();
      context.globalAlpha = 1;
    }
  }

  /** The strip that shows the speech of all over the whole length, and where the lanes are. */
  function drawOverview(canvas, view, whole, parts) {
    const { context, width, height } = prepare(canvas);
    const scale = scaleOf(whole, width);
    const box = { width, top: 4, height: height - 8 };
    bar(context, 0, width, box.top, box.height, 4);
    context.fillStyle = colours.grid;
    context.fill();
    const spoken = parts.filter((part) => part.speaker !== edits.OFFSCREEN);
    drawShades(context, spoken, scale, box, colours.speaking);
    const away = parts.filter((part) => part.speaker === edits.OFFSCREEN);
    const below = { ...box, top: box.top + box.height * 0.62, height: box.height * 0.38 };
    drawShades(context, away, scale, below, colours.offscreen);
    if (view.stop_s - view.start_s > 0.999 * (whole.stop_s - whole.start_s)) return;
    const [left, right] = [scale.at(view.start_s), scale.at(view.stop_s)];
    context.fillStyle = colours.paper;
    context.globalAlpha = 0.6;
    context.fillRect(0, 0, left, height);
    context.fillRect(right, 0, width - right, height);
    context.globalAlpha = 1;
    bar(context, left + 1, right - 1, 2, height - 4, 4);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.stroke();
  }

  return { GRIP, readColours, scaleOf, drawLane, drawAxis, drawOverview };
})();
