"use strict";
/* What the page shows: the result, the edits made on it, the threshold; tells who listens. */
const model = (() => {
  const data = JSON.parse(document.getElementById("result").textContent);
  const listeners = [];
  let list = []; // edits in order
  let undone = []; // edits that redo would make again
  let threshold = 0; // in units of the scores
  let cast = null;
  let segments = [];
  let saved = ""; // the edits as they were saved last
  const storeKey = `talknet-edits:${data.result}:${JSON.stringify([data.edits, data.threshold])}`;

  /** Undo the differences that boxes and scores are stored as. */
  function unpack(track) {
    track.stop = track.start + track.length;
    track.boxes = track.boxes.map((differences) => running(differences));
    track.scores = running(track.scores);
    Object.assign(track, speechRule.smoothedSums(track.scores));
  }

  function running(differences) {
    const values = new Int32Array(differences.length);
    let value = 0;
    for (let i = 0; i < values.length; i++) values[i] = value += differences[i];
    return values;
  }

  data.tracks.forEach(unpack);
  data.trackById = new Map(data.tracks.map((track) => [track.id, track]));

  /** The edits in use make the cast; throws and changes nothing if they cannot be applied. */
  function rebuild(edit_list = list, units = threshold) {
    const made = edits.applyEdits(data, edit_list, units);
    [cast, list, threshold] = [made, edit_list, units];
    segments = cast.segments();
    for (const person of cast.people.values()) {
      person.segments = segments.filter((part) => part.speaker === person.id);
      person.speaking = person.segments.reduce((sum, part) => sum + part.stop - part.start, 0);
      const first = person.tracks.map((number) => data.trackById.get(number).start);
      person.first = Math.min(...first);
    }
    for (const listener of listeners) listener();
  }

  /** Numbers are formatted alike, so that a part can be found again after a change. */
  function add(edit) {
    rebuild([...list, edit]);
    undone = [];
    remember();
  }

  function undo() {
    if (!list.length) return null;
    const last = list[list.length - 1];
    rebuild(list.slice(0, -1));
    undone.push(last);
    remember();
    return last;
  }

  function redo() {
    if (!undone.length) return null;
    const next = undone.pop();
    rebuild([...list, next]);
    remember();
    return next;
  }

  /** Back to the result as it was found; undo brings the edits back one by one with redo. */
  function reset() {
    undone = [...undone, ...[...list].reverse()];
    rebuild([]);
    remember();
  }

  function load(edit_list, value) {
    rebuild(edit_list, Math.round(value * data.score_units));
    undone = [];
    remember();
  }

  function setThreshold(value) {
    rebuild(list, Math.round(value * data.score_units));
  }

  function snapshot() {
    return JSON.stringify(list);
  }

  /** Keep unsaved edits in the browser: a page that is closed by mistake loses nothing. */
  function remember() {
    try {
      if (snapshot() === JSON.stringify(data.edits)) localStorage.removeItem(storeKey);
      else localStorage.setItem(storeKey, snapshot());
    } catch {
      /* storage is switched off: the edits live as long as the page */
    }
  }

  function remembered() {
    try {
      return JSON.parse(localStorage.getItem(storeKey));
    } catch {
      return null;
    }
  }

  /** Start with the edits of the last visit, or else with those the page was written with. */
  function start() {
    saved = JSON.stringify(data.edits);
    const units = Math.round(data.threshold * data.score_units);
    const kept = remembered();
    if (Array.isArray(kept)) {
      try {
        rebuild(kept, units);
        return kept.length > 0;
      } catch {
        localStorage.removeItem(storeKey);
      }
    }
    rebuild(data.edits, units);
    return false;
  }

  function personOf(speaker) {
    return cast.people.get(speaker);
  }

  /** The name of a speaker for reading, as utils/output/exports.py has it. */
  function speakerName(speaker) {
    if (speaker === edits.OFFSCREEN) return "Off-screen";
    return personOf(speaker).name || `${data.formed ? "Person" : "Face"} ${speaker}`;
  }

  /** An id for a person who is split off: the track's own if people were not formed. */
  function freeId(track) {
    const used = new Set([...cast.people.keys(), ...data.people.map((one) => one.id)]);
    if (!data.people.length) data.tracks.forEach((one) => used.add(one.id));
    for (const edit of list) if (edit.edit === "split") used.add(edit.person);
    if (!data.people.length && !cast.people.has(track)) return track;
    return Math.max(-1, ...used) + 1;
  }

  /** The person that a track belongs to. */
  function ownerOf(track) {
    for (const person of cast.people.values()) if (person.tracks.includes(track)) return person;
    return null;
  }

  return {
    data,
    listen: (listener) => listeners.push(listener),
    start,
    add,
    undo,
    redo,
    reset,
    load,
    setThreshold,
    personOf,
    speakerName,
    freeId,
    ownerOf,
    markSaved: () => {
      saved = snapshot();
      for (const listener of listeners) listener();
    },
    get list() {
      return list;
    },
    get threshold() {
      return threshold;
    },
    get people() {
      return [...cast.people.values()];
    },
    get segments() {
      return segments;
    },
    get offscreen() {
      return segments.filter((part) => part.speaker === edits.OFFSCREEN);
    },
    /** Whether the tables name people: they were formed, or made by edits. */
    get hasPeople() {
      return data.people.length > 0 || list.length > 0 || threshold !== 0;
    },
    get canRedo() {
      return undone.length > 0;
    },
    get unsaved() {
      return snapshot() !== saved;
    },
  };
})();
