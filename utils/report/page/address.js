"use strict";
/* The moment and the threshold in the page's address, so that a link leads back to them. */
const address = (() => {
  function read() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const number = (name) => {
      const value = parts.has(name) ? Number(parts.get(name)) : NaN;
      return Number.isFinite(value) ? value : null;
    };
    return { time_s: number("t"), threshold: number("threshold") };
  }

  function fragment() {
    const parts = [`t=${player.time().toFixed(2)}`];
    const { score_units } = model.data;
    if (model.threshold) parts.push(`threshold=${model.threshold / score_units}`);
    return `#${parts.join("&")}`;
  }

  let timer = 0;
  /** Write it a moment later: browsers slow down pages that change their address too often. */
  function update() {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState(null, "", fragment()), 250);
  }

  async function copyLink() {
    history.replaceState(null, "", fragment());
    try {
      await navigator.clipboard.writeText(location.href);
      format.toast("Link to this moment copied");
    } catch {
      format.toast("The link to this moment is in the address bar");
    }
  }

  function follow() {
    const { time_s, threshold } = read();
    if (threshold !== null) model.setThreshold(threshold);
    if (time_s !== null) player.seek(time_s);
  }

  return { read, update, copyLink, follow };
})();
