"use strict";
/* Start the page. */
(() => {
  panel.start();
  selection.start();
  overlay.start();
  menus.start();
  lanePointer.start();
  lanes.start();
  keys.start();
  const restored = model.start();
  player.start();
  player.video.addEventListener("loadedmetadata", address.follow, { once: true });
  window.addEventListener("hashchange", address.follow);
  const { threshold } = address.read();
  if (threshold !== null) model.setThreshold(threshold);
  if (restored) format.toast("Your unsaved corrections of last time are back");
  document.documentElement.dataset.ready = "true";
})();
