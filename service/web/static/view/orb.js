// @ts-check
/**
 * The centre piece: a ring of voice that breathes, listens and speaks.
 *
 * Three closed curves around a soft disc; the loudness of whoever speaks bends them. With reduced motion nothing
 * moves by itself: one calm drawing per state, and the level meters carry the loudness.
 */

import { visibleLevel } from "../audio/level.js";

const FULL_TURN = Math.PI * 2;
const POINTS = 120;
const EASING = 0.16; // of the way to the newest level, each frame

/**
 * How each state looks: `swell` radius of the disc, `depth` how far the level bends the ring, `calm` bend without
 * any voice, `speed` turns a second, `ink` 0..1, `dash` whether the ring is broken.
 * @type {Record<string, {swell: number, depth: number, calm: number, speed: number, ink: number, dash: boolean}>}
 */
const LOOKS = {
  idle: { swell: 0.5, depth: 0, calm: 0.03, speed: 0.05, ink: 0.75, dash: false },
  connecting: { swell: 0.4, depth: 0, calm: 0.03, speed: 0.3, ink: 0.6, dash: true },
  listening: { swell: 0.46, depth: 0.2, calm: 0.02, speed: 0.06, ink: 0.9, dash: false },
  thinking: { swell: 0.42, depth: 0, calm: 0.09, speed: 0.3, ink: 0.8, dash: false },
  speaking: { swell: 0.54, depth: 0.24, calm: 0.03, speed: 0.12, ink: 1, dash: false },
  reconnecting: { swell: 0.36, depth: 0, calm: 0.02, speed: 0.25, ink: 0.5, dash: true },
  ended: { swell: 0.34, depth: 0, calm: 0, speed: 0, ink: 0.4, dash: false },
  failed: { swell: 0.34, depth: 0, calm: 0, speed: 0, ink: 0.35, dash: true },
};

export class Orb {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.look = { ...LOOKS.idle };
    this.target = LOOKS.idle;
    this.level = 0;
    this.targetLevel = 0;
    this.turn = 0;
    this.dashed = false;
    this.backup = false;
    this.stillness = matchMedia("(prefers-reduced-motion: reduce)");
  }

  /** Begin to draw; from here on the orb looks after itself. */
  start() {
    this.pen = this.canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(this.canvas);
    this.stillness.addEventListener("change", () => this.#wake());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#fit());
    document.addEventListener("visibilitychange", () => this.#wake());
    this.#fit();
  }

  /** @param {string} phase @param {boolean} backup whether the backup voice speaks */
  setState(phase, backup) {
    this.target = LOOKS[phase] ?? LOOKS.idle;
    this.backup = backup;
    this.#wake();
  }

  /** @param {number} peak 0..1 of whoever is heard now */
  setLevel(peak) {
    this.targetLevel = visibleLevel(peak);
  }

  #fit() {
    const scale = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = Math.round(this.canvas.clientWidth * scale);
    this.canvas.height = Math.round(this.canvas.clientHeight * scale);
    this.colour = getComputedStyle(this.canvas).color;
    this.#wake();
  }

  #wake() {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = undefined;
    this.before = undefined;
    if (this.stillness.matches) this.#drawStill();
    else if (!document.hidden) this.frame = requestAnimationFrame((now) => this.#step(now));
  }

  #drawStill() {
    this.look = { ...this.target };
    this.level = 0;
    this.turn = 0;
    this.#draw();
  }

  /** @param {number} now milliseconds */
  #step(now) {
    const seconds = Math.min(0.1, (now - (this.before ?? now)) / 1000);
    this.before = now;
    this.level += (this.targetLevel - this.level) * EASING;
    for (const name of /** @type {const} */ (["swell", "depth", "calm", "speed", "ink"])) {
      this.look[name] += (this.target[name] - this.look[name]) * EASING * 0.6;
    }
    this.turn += seconds * this.look.speed * FULL_TURN;
    this.#draw();
    this.frame = this.#isAtRest() ? undefined : requestAnimationFrame((next) => this.#step(next));
  }

  /** Nothing will move before the next state: the processor may rest as well. */
  #isAtRest() {
    return this.target.speed === 0 && this.level < 0.001 && Math.abs(this.target.ink - this.look.ink) < 0.001
      && Math.abs(this.look.speed) < 0.0005;
  }

  #draw() {
    const pen = this.pen;
    const { width, height } = this.canvas;
    if (!pen || width === 0) return;
    pen.clearRect(0, 0, width, height);
    pen.save();
    pen.translate(width / 2, height / 2);
    this.#drawDisc(pen, Math.min(width, height) / 2);
    for (let ring = 0; ring < 3; ring += 1) this.#drawRing(pen, Math.min(width, height) / 2, ring);
    pen.restore();
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} room radius of the canvas */
  #drawDisc(pen, room) {
    const radius = room * (this.look.swell + this.level * this.look.depth * 0.3);
    const glow = pen.createRadialGradient(-radius * 0.3, -radius * 0.4, radius * 0.1, 0, 0, radius);
    glow.addColorStop(0, this.#tint(0.34 * this.look.ink));
    glow.addColorStop(1, this.#tint(0.12 * this.look.ink));
    pen.fillStyle = glow;
    pen.beginPath();
    pen.arc(0, 0, radius, 0, FULL_TURN);
    pen.fill();
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} room @param {number} ring 0 inner .. 2 outer */
  #drawRing(pen, room, ring) {
    const base = room * (this.look.swell + 0.07 + ring * 0.075);
    const bend = room * (this.look.calm + this.level * this.look.depth) * (0.5 + ring * 0.3);
    pen.lineWidth = Math.max(1.5, room * (0.016 - ring * 0.0035));
    pen.strokeStyle = this.#tint(this.look.ink * (0.95 - ring * 0.32));
    pen.setLineDash(this.target.dash || this.backup ? [room * 0.035, room * 0.045] : []);
    pen.lineCap = "round";
    pen.beginPath();
    for (let point = 0; point <= POINTS; point += 1) {
      const angle = (point / POINTS) * FULL_TURN;
      const radius = base + bend * (0.35 + 0.65 * wave(angle, this.turn * (1 + ring * 0.35) + ring * 2.1));
      pen.lineTo(Math.cos(angle) * radius, Math.sin(angle) * radius);
    }
    pen.closePath();
    pen.stroke();
  }

  /** @param {number} alpha 0..1 */
  #tint(alpha) {
    const channels = /(\d+),\s*(\d+),\s*(\d+)/.exec(this.colour ?? "") ?? ["", "0", "0", "0"];
    return `rgba(${channels[1]}, ${channels[2]}, ${channels[3]}, ${alpha})`;
  }
}

/** Three whole-numbered harmonics, so that the ring closes. @param {number} angle @param {number} turn */
function wave(angle, turn) {
  return 0.5 * Math.sin(3 * angle + turn) + 0.3 * Math.sin(5 * angle - turn * 1.4) + 0.2 * Math.sin(2 * angle + turn * 0.6);
}
