"use strict";
/* Corrections of people: rename, merge, split. */
const names = (() => {
  const { data } = model;

  /** Turn the name of a lane into a field; Enter keeps what is typed, Escape does not. */
  function rename(speaker) {
    const row = lanes.rowOf(speaker);
    if (!row || row.offscreen) return;
    const field = format.element("input", {
      className: "name-field",
      value: model.personOf(speaker).name || "",
      placeholder: model.speakerName(speaker),
      maxLength: 100,
    });
    field.setAttribute("aria-label", `Name of ${model.speakerName(speaker)}`);
    let done = false;
    const end = (keep) => {
      if (done) return;
      done = true;
      const name = edits.cleanName(field.value);
      field.replaceWith(row.name);
      row.element.focus({ preventScroll: true });
      if (keep && name !== model.personOf(speaker).name) {
        const words = name ? `Renamed to ${name}` : "The name is taken away";
        corrections.apply({ edit: "rename", person: speaker, name }, words);
      }
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      else if (event.key === "Escape") end(false);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(true));
    row.name.replaceWith(field);
    field.focus();
    field.select();
  }

  function merge(person, into) {
    const words = `${model.speakerName(person)} is now part of ${model.speakerName(into)}`;
    corrections.apply({ edit: "merge", person, into }, words);
    lanes.focusRow(lanes.rows.indexOf(lanes.rowOf(into)));
  }

  function split(track) {
    const person = model.freeId(track);
    corrections.apply({ edit: "split", track, person }, "The track is a person of its own");
    lanes.focusRow(lanes.rows.indexOf(lanes.rowOf(person)));
  }

  function trackLabel(number) {
    const track = data.trackById.get(number);
    return corrections.span(track.start, track.stop);
  }

  function openMenu(speaker, at) {
    const person = model.personOf(speaker);
    if (!person) return;
    const others = lanes.rows.filter((row) => !row.offscreen && row.speaker !== speaker);
    const items = [{ label: "Rename", hint: "Enter", action: () => rename(speaker) }];
    if (others.length) items.push({ heading: `${model.speakerName(speaker)} is the same as …` });
    for (const row of others) {
      items.push({
        label: model.speakerName(row.speaker),
        image: corrections.faceOf(row.speaker),
        action: () => merge(speaker, row.speaker),
      });
    }
    if (person.tracks.length > 1) {
      items.push({ heading: "Somebody else is seen in …" });
      for (const number of person.tracks) {
        items.push({
          label: trackLabel(number),
          image: `data:image/jpeg;base64,${data.trackById.get(number).thumbnail}`,
          action: () => split(number),
        });
      }
    }
    menus.open(items, at);
  }

  return { rename, openMenu };
})();
