"use strict";
/* Apply edits to a result, as utils/report/corrections.py does. */
const edits = (() => {
  const OFFSCREEN = "offscreen";
  const NOBODY = "nobody";
  const MAX_NAME = 100; // characters

  /** A name on one line and of bounded length, or null if nothing is left. */
  function cleanName(name) {
    const plain = (name || "").replace(/[\s\u0000-\u001f\u007f]+/g, " ").trim();
    return Array.from(plain).slice(0, MAX_NAME).join("").trim() || null;
  }

  const order = (number) => (number === null ? Infinity : number);
  const frame = (place) => Math.floor(place + 0.5);

  /** People and their speech while edits are applied. */
  class Cast {
    constructor(data, threshold) {
      this.data = data;
      const formed = data.people.length
        ? data.people
        : data.tracks.map((track) => ({ id: track.id, name: null, tracks: [track.id] }));
      this.people = new Map(
        formed.map((one) => [one.id, { uncertain: false, ...one, tracks: [...one.tracks] }]),
      );
      this.parts = [];
      for (const person of this.people.values()) {
        for (const number of person.tracks) this.addSpeech(person.id, number, threshold);
      }
      for (const one of data.offscreen) {
        const [start, stop] = [one.start_s * data.fps, one.stop_s * data.fps];
        this.parts.push({ speaker: OFFSCREEN, start, stop, track: null, score: one.score });
      }
    }

    addSpeech(speaker, number, threshold) {
      const track = this.data.trackById.get(number);
      for (const [start, stop] of speechRule.speechRanges(track, threshold)) {
        const places = { start: track.start + start, stop: track.start + stop };
        this.parts.push({ speaker, ...places, track: number, score: null });
      }
    }

    apply(edit) {
      const { person, start, stop } = edit;
      if (edit.edit === "rename") this.person(person).name = cleanName(edit.name);
      else if (edit.edit === "merge") this.merge(person, edit.into);
      else if (edit.edit === "split") this.split(edit.track, person);
      else if (edit.edit === "draw") this.draw(person, start, stop);
      else if (edit.edit === "move") {
        this.erase(person, start, stop);
        if (edit.to !== NOBODY) this.draw(edit.to, start, stop);
      } else if (edit.edit === "trim") {
        this.erase(person, start, stop);
        this.draw(person, edit.new_start, edit.new_stop);
      } else throw new Error(`unknown edit ${JSON.stringify(edit.edit)}`);
    }

    person(number) {
      const found = this.people.get(number);
      if (!found) throw new Error(`there is no person ${number} at this point`);
      return found;
    }

    merge(number, into) {
      const person = this.person(number);
      const other = this.person(into);
      if (person === other) throw new Error(`expected two people, found ${number} twice`);
      other.name = other.name || person.name;
      other.thumbnail = other.thumbnail || person.thumbnail;
      other.tracks = [...other.tracks, ...person.tracks].sort((a, b) => a - b);
      this.people.delete(number);
      for (const part of this.parts) if (part.speaker === number) part.speaker = into;
      this.join(into);
    }

    split(track, number) {
      const owner = [...this.people.values()].find((one) => one.tracks.includes(track));
      if (!owner || owner.tracks.length < 2 || this.people.has(number)) {
        throw new Error(`expected a track of a person with several, found track ${track}`);
      }
      owner.tracks = owner.tracks.filter((one) => one !== track);
      owner.thumbnail = null; // it may show the face that is split off
      const { uncertain } = owner;
      this.people.set(number, { id: number, name: null, tracks: [track], uncertain });
      for (const part of this.parts) {
        if (part.speaker === owner.id && part.track === track) part.speaker = number;
      }
    }

    erase(speaker, start, stop) {
      if (speaker !== OFFSCREEN) this.person(speaker);
      const kept = [];
      for (const part of this.parts) {
        if (part.speaker !== speaker || part.stop <= start || part.start >= stop) {
          kept.push(part);
          continue;
        }
        if (part.start < start) kept.push({ ...part, stop: start, score: null });
        if (part.stop > stop) kept.push({ ...part, start: stop, score: null });
      }
      this.parts = kept;
    }

    draw(speaker, start, stop) {
      if (speaker !== OFFSCREEN) this.person(speaker);
      const first = frame(start);
      const last = Math.max(first + 1, frame(stop));
      this.parts.push(this.made(speaker, first, last));
      this.join(speaker);
    }

    made(speaker, start, stop) {
      return { speaker, start, stop, track: this.bestTrack(speaker, start, stop), score: null };
    }

    join(speaker) {
      const own = this.parts.filter((part) => part.speaker === speaker);
      own.sort(
        (a, b) => a.start - b.start || a.stop - b.stop || order(a.track) - order(b.track) || 0,
      );
      const joined = [];
      for (const part of own) {
        const last = joined[joined.length - 1];
        if (last && part.start < last.stop) {
          const stop = Math.max(last.stop, part.stop);
          joined[joined.length - 1] = this.made(speaker, last.start, stop);
        } else joined.push(part);
      }
      this.parts = [...this.parts.filter((part) => part.speaker !== speaker), ...joined];
    }

    /** The person's track that covers most of a range, the lowest id of equals. */
    bestTrack(speaker, start, stop) {
      if (speaker === OFFSCREEN) return null;
      let best = null;
      let longest = 0;
      for (const number of [...this.people.get(speaker).tracks].sort((a, b) => a - b)) {
        const track = this.data.trackById.get(number);
        const covered = Math.min(stop, track.stop) - Math.max(start, track.start);
        if (covered > longest) [best, longest] = [number, covered];
      }
      return best;
    }

    /** Score of a part in units, or null if no face shows it. */
    scoreOf(part) {
      if (part.score !== null) return Math.round(part.score * this.data.score_units);
      if (part.track === null) return null;
      const track = this.data.trackById.get(part.track);
      const start = Math.max(0, Math.trunc(part.start) - track.start);
      const stop = Math.min(track.length, Math.trunc(part.stop) - track.start);
      return stop > start ? speechRule.meanScore(track, start, stop) : null;
    }

    /** All speech in order: speaker, start, stop (frames), track, score (units). */
    segments() {
      const found = this.parts.map((part) => ({ ...part, score: this.scoreOf(part) }));
      const person = (one) => (one.speaker === OFFSCREEN ? Infinity : one.speaker);
      const less = (a, b) => (a === b ? 0 : a < b ? -1 : 1);
      return found.sort(
        (a, b) =>
          a.start - b.start || less(order(a.track), order(b.track)) || less(person(a), person(b)),
      );
    }
  }

  /** The cast after all edits; an Error says which edit cannot be applied. */
  function applyEdits(data, list, threshold) {
    const cast = new Cast(data, threshold);
    list.forEach((edit, place) => {
      try {
        cast.apply(edit);
      } catch (error) {
        throw new Error(`edits[${place}] (${edit.edit}): ${error.message}`);
      }
    });
    return cast;
  }

  return { OFFSCREEN, NOBODY, cleanName, applyEdits };
})();
