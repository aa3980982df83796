// @ts-check
/** How loud a stretch of samples is, as a number and as an eye wants to see it. */

const FLOOR_DECIBELS = -50;

/**
 * @param {Float32Array} samples
 * @returns {number} the highest absolute sample, 0..1
 */
export function peakOf(samples) {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return Math.min(1, peak);
}

/**
 * Loudness on a scale that looks even: -50 dB and below is 0, full scale is 1.
 * @param {number} peak 0..1
 */
export function visibleLevel(peak) {
  if (peak <= 0) return 0;
  const decibels = 20 * Math.log10(peak);
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DECIBELS));
}
