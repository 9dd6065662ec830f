"use strict";
/* Buttons and fields around the lanes: header, controls, threshold, the selected speech. */
const panel = (() => {
  const { data } = model;
  const { byId, element } = format;

  function fillHeader() {
    const faces = model.hasPeople && data.formed ? "person" : "face track";
    byId("title").textContent = data.video.name;
    const counts = [
      data.models,
      format.duration(data.stop_s - data.start_s),
      format.plural(data.shots.length, "shot"),
      format.plural(data.tracks.length, "face track"),
    ];
    if (faces === "person") counts.push(`${data.people.length === 1 ? "1 person" : `${data.people.length} people`}`);
    byId("subtitle").textContent = counts.join("   ·   ");
    const notes = [...data.warnings];
    if (data.video.kind === "marked") notes.push("Browsers cannot play the source: this is the marked video. --proxy writes one without boxes.");
    if (!data.video.playable) notes.push("Your browser may not play this video; --proxy writes one that every browser plays.");
    byId("warnings").hidden = !notes.length;
    byId("warnings").textContent = notes.join(" · ");
  }

  function updateHeader() {
    const count = model.list.length;
    byId("undo").disabled = byId("reset").disabled = !count;
    byId("redo").disabled = !model.canRedo;
    byId("save").textContent = model.unsaved ? "Save edits •" : "Save edits";
    byId("save").title = `Save ${format.plural(count, "correction")} as edits.json (Ctrl+S)`;
  }

  function undo() {
    format.toast(model.undo() ? "Undone" : "Nothing to undo");
  }

  function redo() {
    format.toast(model.redo() ? "Redone" : "Nothing to redo");
  }

  function openExport(button) {
    const files = exportsOf.FILES.map(([name, hint]) => ({
      label: name,
      hint,
      action: () => exportsOf.save(name),
    }));
    const json = { label: "edits.json", hint: "for demoTalkNet.py --edits", action: exportsOf.saveEdits };
    const open = { label: "Open edits.json …", action: () => byId("edits-file").click() };
    menus.open([...files, json, { heading: "Corrections saved before" }, open], button);
  }

  async function openEdits(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    try {
      const content = JSON.parse(await file.text());
      if (content.version !== 1 || !Array.isArray(content.edits)) throw new Error("no edits in it");
      if (content.result && content.result !== data.result) {
        throw new Error("they belong to another result");
      }
      model.load(content.edits, content.threshold || 0);
      format.toast(`${format.plural(content.edits.length, "correction")} opened`);
    } catch (error) {
      format.toast(`Cannot open ${file.name}: ${error.message}`);
    }
  }

  function updateThreshold() {
    const value = model.threshold / data.score_units;
    const field = byId("threshold");
    const limit = Math.max(5, Math.ceil(Math.abs(value)));
    [field.min, field.max] = [-limit, limit];
    field.value = value;
    byId("threshold-value").textContent = `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`;
    field.style.setProperty("--share", `${(100 * (value + limit)) / (2 * limit)}%`);
    byId("threshold-zero").disabled = value === 0;
  }

  function setThreshold(value) {
    model.setThreshold(value);
    address.update();
  }

  function button(label, title, action) {
    const made = element("button", { title }, label);
    made.addEventListener("click", action);
    return made;
  }

  function ends(part, end) {
    const frame = part[end];
    const setter = (place) => () => corrections.setEnd(end, Math.round(place()));
    const row = element("div", { className: "ends" });
    const word = end === "start" ? "starts" : "stops";
    row.append(
      element("span", { className: "faint" }, word),
      button("−", `One frame earlier`, setter(() => frame - 1)),
      element("b", {}, format.clock(frame / data.fps)),
      button("+", `One frame later`, setter(() => frame + 1)),
      button("here", `Speech ${word} at the current time (${end === "start" ? "I" : "O"})`, setter(now)),
    );
    row.querySelectorAll("button").forEach((one) => one.setAttribute("aria-label", one.title));
    return row;
  }

  const now = () => overlay.frameAt(player.time());

  function showSelection(part) {
    const box = byId("selection");
    if (!part) {
      const hint = "Click speech in a lane to hear it, trim it, or give it to somebody else.";
      box.replaceChildren(element("p", { className: "hint" }, hint));
      return;
    }
    const facts = [format.duration((part.stop - part.start) / data.fps)];
    if (part.score !== null) facts.push(`score ${(part.score / data.score_units).toFixed(2)}`);
    if (part.track === null && part.speaker !== edits.OFFSCREEN) facts.push("face not visible");
    const face = corrections.faceOf(part.speaker);
    const title = element("h2", {}, model.speakerName(part.speaker));
    if (face) title.prepend(element("img", { className: "face", alt: "", src: face }));
    const moves = element("div", { className: "moves" });
    const to = button("Move to …", "Give this speech to somebody else (M)", () => corrections.openMoveMenu(part, to));
    to.setAttribute("aria-haspopup", "menu");
    moves.append(
      button("Play", "Play this speech", () => player.playRange(part.start / data.fps, part.stop / data.fps)),
      to,
      button("Nobody", "Nobody speaks there (Delete)", () => corrections.move(part, edits.NOBODY)),
    );
    if (part.speaker !== edits.OFFSCREEN) {
      moves.append(button("Off-screen", "Somebody who is not visible speaks", () => corrections.move(part, edits.OFFSCREEN)));
    }
    box.replaceChildren(title, element("p", { className: "faint" }, facts.join(" · ")), ends(part, "start"), ends(part, "stop"), moves);
  }

  function toggleTheme() {
    const root = document.documentElement;
    const dark = getComputedStyle(root).getPropertyValue("--scheme").trim() === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("talknet-theme", root.dataset.theme);
    } catch {
      /* storage is switched off: the choice lasts as long as the page */
    }
    recolour();
  }

  function recolour() {
    laneCanvas.readColours();
    lanes.draw();
  }

  function startTheme() {
    try {
      const kept = localStorage.getItem("talknet-theme");
      if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
    } catch {
      /* storage is switched off */
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  }

  function startControls() {
    const { video } = player;
    const clicks = {
      undo, redo, reset: model.reset, save: exportsOf.saveEdits, theme: toggleTheme,
      help: () => byId("help-dialog").showModal(),
      play: player.toggle, "step-back": () => player.step(-1), "step-forward": () => player.step(1),
      mute: () => { video.muted = !video.muted; },
      link: address.copyLink,
      full: () => (document.fullscreenElement ? document.exitFullscreen() : byId("screen").requestFullscreen()),
      "threshold-zero": () => setThreshold(0),
    };
    for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
    byId("export").addEventListener("click", () => openExport(byId("export")));
    byId("edits-file").addEventListener("change", openEdits);
    byId("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));
    byId("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
    byId("screen").addEventListener("click", player.toggle);
    video.addEventListener("volumechange", showVolume);
    for (const event of ["play", "pause"]) video.addEventListener(event, showPlaying);
  }

  function showVolume() {
    const { muted } = player.video;
    format.setIcon(byId("mute"), muted ? "muted" : "sound");
    byId("mute").setAttribute("aria-label", muted ? "Sound on" : "Sound off");
  }

  function showPlaying() {
    const { paused } = player.video;
    format.setIcon(byId("play"), paused ? "play" : "pause");
    byId("play").setAttribute("aria-label", paused ? "Play" : "Pause");
    if (paused) address.update();
  }

  function start() {
    startTheme();
    fillHeader();
    startControls();
    byId("screen").style.setProperty("--aspect", `${data.video.width} / ${data.video.height}`);
    byId("screen").style.setProperty("--ratio", data.video.width / data.video.height);
    byId("length").textContent = format.clock(data.stop_s);
    byId("mute").disabled = !data.video.has_sound;
    model.listen(updateHeader);
    model.listen(updateThreshold);
    model.listen(() => showSelection(lanes.findSelected()));
    lanes.onSelect(showSelection);
    player.onTime((time_s) => { byId("now").textContent = format.clock(time_s); });
  }

  return { start, undo, redo };
})();
