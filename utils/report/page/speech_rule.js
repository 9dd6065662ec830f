"use strict";
/* The rule that turns scores into speech, as utils/output/speech_rule.py has it, on integers. */
const speechRule = (() => {
  const RADIUS = 2; // frames on either side that are averaged
  const JOIN_FRAMES = 5; // a shorter pause does not end a segment
  const MIN_FRAMES = 3; // shorter speech is no segment
  const COMMON = 60; // multiple of all window lengths, 1 to 5

  /** Sum of the scores around each frame, and how many they are. */
  function smoothedSums(scores) {
    const length = scores.length;
    const total = new Float64Array(length + 1);
    for (let i = 0; i < length; i++) total[i + 1] = total[i] + scores[i];
    const sums = new Float64Array(length);
    const counts = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const start = Math.max(i - RADIUS, 0);
      const stop = Math.min(i + RADIUS + 1, length);
      sums[i] = total[stop] - total[start];
      counts[i] = stop - start;
    }
    return { sums, counts };
  }

  /** Ranges [start, stop) of a track's frames in which its face speaks; threshold in units. */
  function speechRanges(track, threshold) {
    const { sums, counts } = track;
    const ranges = [];
    let start = -1;
    for (let i = 0; i <= sums.length; i++) {
      const reached = i < sums.length && sums[i] >= threshold * counts[i];
      if (reached && start < 0) start = i;
      if (reached || start < 0) continue;
      const last = ranges[ranges.length - 1];
      if (last && start - last[1] < JOIN_FRAMES) last[1] = i;
      else ranges.push([start, i]);
      start = -1;
    }
    const shortest = Math.min(MIN_FRAMES, sums.length);
    return ranges.filter((range) => range[1] - range[0] >= shortest);
  }

  /** Mean of the smoothed scores of the frames [start, stop) of a track, rounded, in units. */
  function meanScore(track, start, stop) {
    let total = 0;
    for (let i = start; i < stop; i++) total += track.sums[i] * (COMMON / track.counts[i]);
    const parts = COMMON * (stop - start);
    return Math.floor((2 * total + parts) / (2 * parts));
  }

  return { smoothedSums, speechRanges, meanScore };
})();
