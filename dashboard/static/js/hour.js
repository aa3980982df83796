// The last hour for a page's charts. All else on a page freshens itself (live.js); what charts draw changes by the
// minute, so it is asked for every ten seconds.

const EVERY_MS = 10_000;

// Calls `draw` with the answer of /api/history: now, and as long as the page is kept up to date.
export function followHour(draw) {
  let askedAt = 0;
  async function refresh() {
    if (Date.now() - askedAt < EVERY_MS) return;
    askedAt = Date.now();
    // Not by ask.js: nobody did anything, so this must neither keep the session from going idle nor ask for a password.
    const answer = await fetch("/api/history", { headers: { "X-Fragment": "live" } }).catch(() => null);
    if (answer?.ok) draw(await answer.json()); // else the page itself says what does not answer; charts stay as they were
  }
  document.addEventListener("live", refresh);
  refresh();
}
