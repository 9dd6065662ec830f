"use strict";
/* The video: time on the result's clock, frame-exact by requestVideoFrameCallback. */
const player = (() => {
  const video = format.byId("video");
  const { data } = model;
  const offset_s = data.video.start_s; // of the file on the result's clock
  const frameListeners = []; // called with the time of the image that is shown
  const timeListeners = []; // called whenever the time changes
  let shown_s = null; // time of the image that is shown
  let stop_s = null; // where to pause

  function embedded() {
    const parts = document.querySelectorAll("script.video-part");
    if (!parts.length) return null;
    const bytes = [...parts].map((part) => {
      const text = atob(part.textContent);
      part.remove();
      return Uint8Array.from(text, (char) => char.charCodeAt(0));
    });
    return URL.createObjectURL(new Blob(bytes, { type: data.video.mime || "video/mp4" }));
  }

  function time() {
    return video.currentTime + offset_s;
  }

  function seek(time_s) {
    const last_s = Number.isFinite(video.duration) ? video.duration : Infinity;
    video.currentTime = Math.min(Math.max(0, time_s - offset_s), last_s);
    stop_s = null;
    tell();
  }

  /** Go to the image before or after the one that is shown. */
  function step(direction) {
    video.pause();
    const frame_s = 1 / data.video.fps;
    const now_s = shown_s === null ? time() : shown_s;
    seek(direction > 0 ? now_s + 1.25 * frame_s : now_s - 0.25 * frame_s);
  }

  function toggle() {
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  function playRange(start_s, end_s) {
    seek(start_s);
    stop_s = end_s;
    video.play().catch(() => {});
  }

  function tell() {
    if (stop_s !== null && time() >= stop_s) {
      video.pause();
      stop_s = null;
    }
    for (const listener of timeListeners) listener(time());
  }

  function tellFrame(media_s) {
    shown_s = media_s + offset_s;
    for (const listener of frameListeners) listener(shown_s);
  }

  function watchFrames() {
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
      timeListeners.push((time_s) => tellFrame(time_s - offset_s));
      return;
    }
    const next = (_, facts) => {
      tellFrame(facts.mediaTime);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  function run() {
    tell();
    if (!video.paused) requestAnimationFrame(run);
  }

  function showProblem() {
    const box = format.byId("no-video");
    box.hidden = false;
    box.textContent =
      `This browser cannot play ${data.video.name}, or it is not at its place. ` +
      "demoTalkNet.py result.json --proxy --noVideo writes one that plays.";
  }

  function start() {
    watchFrames();
    video.addEventListener("play", run);
    for (const event of ["seeking", "seeked", "timeupdate", "loadedmetadata", "pause"]) {
      video.addEventListener(event, tell);
    }
    video.addEventListener("error", showProblem);
    video.src = embedded() || data.video.address;
  }

  return {
    video,
    start,
    time,
    seek,
    step,
    toggle,
    playRange,
    onFrame: (listener) => frameListeners.push(listener),
    onTime: (listener) => timeListeners.push(listener),
    get shown() {
      return shown_s;
    },
  };
})();
