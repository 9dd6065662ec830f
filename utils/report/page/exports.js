"use strict";
/* The tables that the command writes, from what the page shows; and edits.json. */
const exportsOf = (() => {
  const escapeText = (text) =>
    text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function vttClock(time_s) {
    const ticks = Math.round(time_s * 1000);
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(ticks / 3600000);
    const minutes = Math.floor(ticks / 60000) % 60;
    const seconds = Math.floor(ticks / 1000) % 60;
    return `${two(hours)}:${two(minutes)}:${two(seconds)}.${String(ticks % 1000).padStart(3, "0")}`;
  }

  function rttmSpeaker(segment) {
    const name = model.speakerName(segment.speaker).replace(/\s+/g, "_");
    if (segment.speaker === edits.OFFSCREEN) return "offscreen";
    return model.personOf(segment.speaker).name ? name : name.toLowerCase();
  }

  function rttm() {
    const { data, segments } = model;
    return segments
      .map((part) => {
        const [start_s, stop_s] = [part.start / data.fps, part.stop / data.fps];
        const times = `${start_s.toFixed(3)} ${(stop_s - start_s).toFixed(3)}`;
        const name = rttmSpeaker(part);
        return `SPEAKER ${data.video.id} 1 ${times} <NA> <NA> ${name} <NA> <NA>\n`;
      })
      .join("");
  }

  function vtt() {
    const { data, segments } = model;
    const cues = segments.map((part) => {
      const name = escapeText(model.speakerName(part.speaker));
      const times = `${vttClock(part.start / data.fps)} --> ${vttClock(part.stop / data.fps)}`;
      return `\n${times}\n<v ${name}>${name}\n`;
    });
    return `WEBVTT - ${escapeText(data.video.id)}\n${cues.join("")}`;
  }

  function csv() {
    const { data, segments } = model;
    const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    const rows = segments.map((part) => {
      const [start_s, stop_s] = [part.start / data.fps, part.stop / data.fps];
      return [
        cell(model.speakerName(part.speaker)),
        start_s.toFixed(3),
        stop_s.toFixed(3),
        (stop_s - start_s).toFixed(3),
        model.hasPeople && part.speaker !== edits.OFFSCREEN ? part.speaker : "",
        part.track === null ? "" : part.track,
        part.score === null ? "" : (part.score / data.score_units).toFixed(4),
      ].join(",");
    });
    const header = "speaker,start_s,stop_s,duration_s,person,track,score";
    return [header, ...rows].join("\n") + "\n";
  }

  function editsJson() {
    const content = {
      version: 1,
      result: model.data.result,
      video: model.data.video.name,
      threshold: model.threshold / model.data.score_units,
      edits: model.list,
    };
    return JSON.stringify(content, null, 1) + "\n";
  }

  function download(name, text, type) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    const link = format.element("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  /** Where the local page saves edits; null if this is a file. */
  const place = document.querySelector('meta[name="edits-address"]')?.content ?? null;

  async function saveEdits() {
    const text = editsJson();
    if (place === null) download("edits.json", text, "application/json");
    else {
      format.toast("Saving …");
      const error = await send(text);
      if (error) {
        format.toast(`Not saved: ${error}`);
        return;
      }
    }
    // What was corrected while it was being sent is not saved yet.
    if (editsJson() === text) model.markSaved();
    format.toast("edits.json saved");
  }

  /** Send edits to the local page; return what went wrong, or nothing. */
  async function send(text) {
    try {
      const answer = await fetch(place, { method: "PUT", body: text });
      return answer.ok ? "" : (await answer.json()).error;
    } catch {
      return "the server does not answer; is it still running?";
    }
  }

  const FILES = [
    ["speech.rttm", "RTTM for diarisation tools", rttm, "text/plain"],
    ["speech.vtt", "WebVTT for players", vtt, "text/vtt"],
    ["speech.csv", "CSV for spreadsheets", csv, "text/csv"],
  ];

  function save(name) {
    const [, , text, type] = FILES.find((file) => file[0] === name);
    download(name, text(), type);
  }

  return { rttm, vtt, csv, editsJson, saveEdits, save, FILES };
})();
