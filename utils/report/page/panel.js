"use strict";
/* Buttons and fields around the lanes: header, controls, threshold. */
const panel = (() => {
  const { data } = model;
  const { byId } = format;

  function fillHeader() {
    byId("title").textContent = data.video.name;
    const counts = [
      data.models,
      format.duration(data.stop_s - data.start_s),
      format.plural(data.shots.length, "shot"),
      format.plural(data.tracks.length, "face track"),
    ];
    const { length } = data.people;
    if (data.formed) counts.push(length === 1 ? "1 person" : `${length} people`);
    byId("subtitle").textContent = counts.join("   ·   ");
    const notes = [...data.warnings];
    if (data.video.kind === "marked") {
      notes.push("This is the marked video: browsers cannot play the source. --proxy helps.");
    }
    if (!data.video.playable) {
      notes.push("Some browsers cannot play this video; --proxy writes one that all play.");
    }
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
    const hint = "for demoTalkNet.py --edits";
    const json = { label: "edits.json", hint, action: exportsOf.saveEdits };
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

  function toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else byId("screen").requestFullscreen();
  }

  function startControls() {
    const { video } = player;
    const clicks = {
      undo,
      redo,
      reset: model.reset,
      save: exportsOf.saveEdits,
      export: () => openExport(byId("export")),
      theme: toggleTheme,
      help: () => byId("help-dialog").showModal(),
      play: player.toggle,
      "step-back": () => player.step(-1),
      "step-forward": () => player.step(1),
      mute: () => {
        video.muted = !video.muted;
      },
      link: address.copyLink,
      full: toggleFullScreen,
      "threshold-zero": () => setThreshold(0),
    };
    for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
    byId("edits-file").addEventListener("change", openEdits);
    byId("threshold").addEventListener("input", (event) => {
      setThreshold(Number(event.target.value));
    });
    byId("speed").addEventListener("change", (event) => {
      video.playbackRate = Number(event.target.value);
    });
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
    player.onTime((time_s) => {
      byId("now").textContent = format.clock(time_s);
    });
  }

  return { start, undo, redo };
})();
