"use strict";
/* One lane for each person: rows, order, zoom, the line of the current time, the selection. */
const lanes = (() => {
  const MIN_SPAN_S = 0.4; // of what is shown when zoomed in
  const { data } = model;
  const list = format.byId("lane-list");
  const box = format.byId("lanes");
  const whole = { start_s: data.start_s, stop_s: data.stop_s };
  const view = { ...whole };
  let rows = []; // {speaker, element, canvas, name, talk, parts, tracks, offscreen}
  let order = "appearance"; // or talk
  let current = 0; // row that the keyboard works on
  let selected = null; // {speaker, start, stop} of the selected segment
  const selectionListeners = [];

  function speakers() {
    const people = model.people;
    if (order === "talk") people.sort((a, b) => b.speaking - a.speaking || a.id - b.id);
    else people.sort((a, b) => a.first - b.first || a.id - b.id);
    const found = people.map((person) => person.id);
    return model.offscreen.length ? [...found, edits.OFFSCREEN] : found;
  }

  /** The thumbnail of a person: their own, or that of their longest track. */
  function faceOf(person) {
    if (person.thumbnail) return person.thumbnail;
    const tracks = person.tracks.map((number) => data.trackById.get(number));
    const longest = (best, one) => (one.length > best.length ? one : best);
    return tracks.reduce(longest, tracks[0]).thumbnail;
  }

  function makeHead(speaker) {
    const offscreen = speaker === edits.OFFSCREEN;
    const name = format.element("button", { className: "lane-name", tabIndex: -1 });
    const talk = format.element("span", { className: "lane-talk" });
    const words = format.element("div", { className: "lane-words" }, name, talk);
    const face = offscreen
      ? format.element("span", { className: "face away" }, format.icon("away"))
      : format.element("img", {
          className: "face",
          alt: "",
          src: `data:image/jpeg;base64,${faceOf(model.personOf(speaker))}`,
        });
    const head = format.element("div", { className: "lane-head" }, face, words);
    if (offscreen) name.disabled = true;
    else {
      name.title = "Rename (Enter)";
      name.addEventListener("click", () => names.rename(speaker));
      const settings = { className: "icon more", title: "Merge, split … (E)", tabIndex: -1 };
      const more = format.element("button", settings, format.icon("more"));
      more.setAttribute("aria-haspopup", "menu");
      more.addEventListener("click", () => names.openMenu(speaker, more));
      head.append(more);
    }
    return { head, name, talk };
  }

  function makeRow(speaker) {
    const { head, name, talk } = makeHead(speaker);
    const canvas = format.element("canvas", { className: "lane-canvas" });
    canvas.setAttribute("aria-hidden", "true");
    const element = format.element("div", { className: "lane", tabIndex: -1 }, head, canvas);
    element.setAttribute("role", "listitem");
    element.dataset.speaker = speaker;
    const row = { speaker, element, canvas, name, talk, offscreen: speaker === edits.OFFSCREEN };
    element.addEventListener("focus", () => setCurrent(rows.indexOf(row)));
    lanePointer.attach(row);
    return row;
  }

  function fill(row) {
    const person = row.offscreen ? null : model.personOf(row.speaker);
    row.parts = person ? person.segments : model.offscreen;
    row.tracks = person ? person.tracks : [];
    const spoken_s = row.parts.reduce((sum, part) => sum + part.stop - part.start, 0) / data.fps;
    const share = Math.round((100 * spoken_s) / Math.max(data.stop_s - data.start_s, 0.04));
    row.name.textContent = model.speakerName(row.speaker);
    row.talk.textContent = spoken_s ? `${format.duration(spoken_s)} · ${share} %` : "never speaks";
    const more = row.element.querySelector(".more");
    if (more) more.setAttribute("aria-label", `Merge, split and more: ${row.name.textContent}`);
    const words = [row.name.textContent, row.talk.textContent];
    words.push(format.plural(row.parts.length, "segment"));
    row.element.setAttribute("aria-label", words.join(", "));
    row.element.classList.toggle("uncertain", Boolean(person && person.uncertain));
  }

  /** Make the rows anew if people or their order changed; fill them in any case. */
  function update() {
    const wanted = speakers();
    const held = document.activeElement && document.activeElement.closest(".lane");
    const focus = held ? held.dataset.speaker : null;
    const faces = (one) => (one === edits.OFFSCREEN ? "" : model.personOf(one).tracks.join());
    const key = wanted.map((one) => `${one}:${faces(one)}`).join(";");
    if (key !== list.dataset.key) {
      const speaker = rows[current] ? rows[current].speaker : null;
      rows = wanted.map(makeRow);
      list.replaceChildren(...rows.map((row) => row.element));
      list.dataset.key = key;
      const place = rows.findIndex((row) => row.speaker === speaker);
      setCurrent(place < 0 ? Math.min(current, rows.length - 1) : place);
      if (focus !== null && rows[current]) rows[current].element.focus({ preventScroll: true });
    }
    const many = rows.length > 12 ? "many" : rows.length > 6 ? "some" : "few";
    box.dataset.rows = many;
    const height_px = rows.length * { many: 42, some: 54, few: 64 }[many];
    document.documentElement.style.setProperty("--lanes-height", `${height_px + 52}px`);
    format.byId("no-lanes").hidden = rows.length > 0;
    format.byId("legend-offscreen").hidden = !model.offscreen.length;
    rows.forEach(fill);
    if (selected && !findSelected()) select(null);
    showSpeakers(player.time());
    draw();
  }

  function setCurrent(place) {
    current = Math.max(0, place);
    rows.forEach((row, index) => {
      row.element.tabIndex = index === current ? 0 : -1;
      row.element.classList.toggle("current", index === current);
    });
  }

  function focusRow(place) {
    if (!rows.length) return;
    setCurrent(Math.min(Math.max(0, place), rows.length - 1));
    rows[current].element.focus();
  }

  /** The selected segment as it is now, or null. */
  function findSelected() {
    if (!selected) return null;
    const { speaker, start, stop } = selected;
    const same = (part) => part.speaker === speaker && part.start === start && part.stop === stop;
    return model.segments.find(same) || null;
  }

  function select(part) {
    selected = part ? { speaker: part.speaker, start: part.start, stop: part.stop } : null;
    if (part) {
      const place = rows.findIndex((row) => row.speaker === part.speaker);
      if (place >= 0) setCurrent(place);
    }
    for (const listener of selectionListeners) listener(findSelected());
    draw();
  }

  /** Select the segment of a person that holds a frame, for instance after an edit changed it. */
  function selectAt(speaker, frame) {
    const holds = (part) => part.speaker === speaker && part.start <= frame && frame < part.stop;
    select(model.segments.find(holds) || null);
  }

  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawNow();
    });
  }

  function drawNow() {
    const part = findSelected();
    for (const row of rows) {
      row.selected = part && part.speaker === row.speaker ? part : null;
      laneCanvas.drawLane(row, view);
    }
    laneCanvas.drawAxis(format.byId("axis"), view);
    laneCanvas.drawOverview(format.byId("overview"), view, whole, model.segments);
    placePlayhead(player.time());
  }

  function timeAt(x, canvas) {
    const share = x / canvas.clientWidth;
    return view.start_s + share * (view.stop_s - view.start_s);
  }

  function placePlayhead(time_s) {
    const axis = format.byId("axis");
    const { at } = laneCanvas.scaleOf(view, axis.clientWidth);
    const x = at(time_s);
    const line = format.byId("playhead");
    line.hidden = x < -1 || x > axis.clientWidth + 1;
    const left = axis.getBoundingClientRect().left - list.getBoundingClientRect().left + x;
    line.style.transform = `translateX(${left}px)`;
    line.style.height = `${list.offsetTop + list.offsetHeight - line.offsetTop}px`;
  }

  function show(start_s, span_s) {
    const length_s = whole.stop_s - whole.start_s;
    const span = Math.min(Math.max(span_s, Math.min(MIN_SPAN_S, length_s)), length_s);
    view.start_s = Math.min(Math.max(start_s, whole.start_s), whole.stop_s - span);
    view.stop_s = view.start_s + span;
    draw();
  }

  /** Zoom by a factor around a time, which keeps its place. */
  function zoom(factor, around_s = player.time()) {
    const span_s = view.stop_s - view.start_s;
    const fixed_s = Math.min(Math.max(around_s, view.start_s), view.stop_s);
    const share = (fixed_s - view.start_s) / span_s;
    show(fixed_s - (share * span_s) / factor, span_s / factor);
  }

  function fit() {
    show(whole.start_s, whole.stop_s - whole.start_s);
  }

  function pan(time_s) {
    show(view.start_s + time_s, view.stop_s - view.start_s);
  }

  /** Bring a time into view if it is not. */
  function reveal(time_s) {
    const span_s = view.stop_s - view.start_s;
    if (time_s < view.start_s || time_s > view.stop_s) show(time_s - 0.1 * span_s, span_s);
  }

  function followTime(time_s) {
    if (!player.video.paused) reveal(time_s);
    placePlayhead(time_s);
    showSpeakers(time_s);
  }

  function showSpeakers(time_s) {
    const frame = overlay.frameAt(time_s);
    const speaking = [];
    for (const row of rows) {
      const speaks = overlay.speaks({ segments: row.parts }, frame);
      row.element.classList.toggle("speaking", speaks);
      if (speaks) speaking.push(row.name.textContent);
    }
    format.byId("speaking-now").textContent = speaking.join(", ");
  }

  function start() {
    laneCanvas.readColours();
    model.listen(update);
    player.onTime(followTime);
    new ResizeObserver(draw).observe(box);
    format.byId("sort").addEventListener("change", (event) => {
      order = event.target.value;
      update();
    });
    for (const [id, action] of [
      ["zoom-in", () => zoom(2)],
      ["zoom-out", () => zoom(0.5)],
      ["zoom-fit", fit],
    ]) {
      format.byId(id).addEventListener("click", action);
    }
    lanePointer.attachOverview(format.byId("overview"));
    lanePointer.attachAxis(format.byId("axis"));
  }

  return {
    start,
    update,
    draw,
    select,
    selectAt,
    findSelected,
    focusRow,
    timeAt,
    zoom,
    fit,
    pan,
    show,
    reveal,
    view,
    whole,
    onSelect: (listener) => selectionListeners.push(listener),
    rowOf: (speaker) => rows.find((row) => row.speaker === speaker),
    get current() {
      return current;
    },
    get currentRow() {
      return rows[current];
    },
    get rows() {
      return rows;
    },
  };
})();
