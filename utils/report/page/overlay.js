"use strict";
/* Boxes and names over the video, for exactly the image that is shown. */
const overlay = (() => {
  const canvas = format.byId("overlay");
  const { data } = model;
  let mode = "all"; // off, speaking, all
  let marks = []; // what was drawn last: track, box in pixels of the source, speaking, text

  /** The frame at 25/s that an image belongs to; halves upward, as the analysis has it. */
  function frameAt(time_s) {
    return Math.floor(time_s * data.fps + 0.5 + 1e-3);
  }

  /** The box of a track at a time; between frames only if the source has more of them. */
  function boxAt(track, time_s) {
    const index = frameAt(time_s) - track.start;
    const place = data.video.fps > data.fps ? time_s * data.fps - track.start : index;
    const low = Math.min(Math.max(Math.floor(place), 0), track.length - 1);
    const high = Math.min(low + 1, track.length - 1);
    const share = Math.min(Math.max(place - low, 0), 1);
    return track.boxes.map(
      (edge) => ((1 - share) * edge[low] + share * edge[high]) / data.box_units,
    );
  }

  function speaks(person, frame) {
    return person.segments.some((part) => part.start <= frame && frame < part.stop);
  }

  function find(time_s) {
    const frame = frameAt(time_s);
    const found = [];
    for (const person of model.people) {
      const speaking = speaks(person, frame);
      if (mode === "off" || (mode === "speaking" && !speaking)) continue;
      for (const number of person.tracks) {
        const track = data.trackById.get(number);
        if (frame < track.start || frame >= track.stop) continue;
        const place = frame - track.start;
        const score = track.sums[place] / track.counts[place] / data.score_units;
        const number_text = `${score < 0 ? "−" : "+"}${Math.abs(score).toFixed(1)}`;
        const text = `${model.speakerName(person.id)}  ${number_text}`;
        found.push({ track: number, box: boxAt(track, time_s), speaking, text });
      }
    }
    return found.sort((a, b) => a.speaking - b.speaking);
  }

  function draw() {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    marks = player.shown === null ? [] : find(player.shown);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const scale = [width / data.video.width, height / data.video.height];
    for (const mark of marks) drawBox(context, mark, scale);
    for (const mark of marks) drawTab(context, mark, scale, width);
  }

  function place(mark, scale) {
    const [x1, y1, x2, y2] = mark.box;
    return [x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]];
  }

  function drawBox(context, mark, scale) {
    const [x1, y1, x2, y2] = place(mark, scale);
    const shape = [x1, y1, x2 - x1, y2 - y1, 6];
    context.setLineDash(mark.speaking ? [] : [5, 4]);
    for (const [colour, width] of mark.speaking
      ? [["rgba(0,0,0,.55)", 5.5], ["#34d16b", 3.5]]
      : [["rgba(0,0,0,.6)", 3], ["#ffffff", 1.5]]) {
      context.beginPath();
      context.roundRect(...shape);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
    context.setLineDash([]);
  }

  function drawTab(context, mark, scale, screen) {
    const [x1, y1] = place(mark, scale);
    context.font = `${mark.speaking ? 600 : 500} 13px system-ui, sans-serif`;
    const width = context.measureText(mark.text).width + 14;
    const left = Math.min(Math.max(0, x1 - 2), Math.max(0, screen - width));
    const top = Math.max(0, y1 - 24);
    context.beginPath();
    context.roundRect(left, top, width, 21, 5);
    context.fillStyle = mark.speaking ? "#12803a" : "rgba(15,20,28,.72)";
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(mark.text, left + 7, top + 11);
  }

  function setMode(name) {
    mode = name;
    document.querySelector(`input[name=boxes][value=${name}]`).checked = true;
    draw();
  }

  function cycle() {
    const modes = ["off", "speaking", "all"];
    setMode(modes[(modes.indexOf(mode) + 1) % modes.length]);
    format.toast(`Boxes: ${mode}`);
  }

  function start() {
    player.onFrame(draw);
    model.listen(draw);
    new ResizeObserver(draw).observe(canvas);
    for (const input of document.querySelectorAll("input[name=boxes]")) {
      input.addEventListener("change", () => setMode(input.value));
    }
  }

  return {
    start,
    setMode,
    cycle,
    frameAt,
    speaks,
    get marks() {
      return marks;
    },
  };
})();
