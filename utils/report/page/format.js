"use strict";
/* Times, durations and small DOM helpers. */
const format = (() => {
  /** A time for reading: 7.52, 1:07.52 or 1:02:07.52. */
  function clock(time_s, decimals = 2) {
    const unit = 10 ** decimals;
    const ticks = Math.max(0, Math.round(time_s * unit));
    const seconds = Math.floor(ticks / unit) % 60;
    const minutes = Math.floor(ticks / unit / 60) % 60;
    const hours = Math.floor(ticks / unit / 3600);
    const tail = decimals ? "." + String(ticks % unit).padStart(decimals, "0") : "";
    const middle = hours ? String(minutes).padStart(2, "0") : minutes;
    return `${hours ? `${hours}:` : ""}${middle}:${String(seconds).padStart(2, "0")}${tail}`;
  }

  /** A duration for reading: 7.5 s, 1 min 07 s or 1 h 02 min. */
  function duration(time_s) {
    if (time_s < 59.95) return `${time_s.toFixed(1)} s`;
    const seconds = Math.round(time_s);
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, "0")} s`;
    return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  }

  function plural(count, word) {
    return `${count} ${word}${count === 1 ? "" : "s"}`;
  }

  function byId(id) {
    return document.getElementById(id);
  }

  /** A new element: properties are set on it, children appended; text is never parsed as HTML. */
  function element(name, properties = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function icon(name) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const use = document.createElementNS(space, "use");
    use.setAttribute("href", `#i-${name}`);
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
  }

  function setIcon(button, name) {
    button.querySelector("use").setAttribute("href", `#i-${name}`);
  }

  /** Show a short message, also to screen readers. */
  let timer = 0;
  function toast(words) {
    const box = byId("toast");
    box.textContent = words;
    box.classList.add("shown");
    clearTimeout(timer);
    timer = setTimeout(() => box.classList.remove("shown"), 4000);
  }

  return { clock, duration, plural, byId, element, icon, setIcon, toast };
})();
