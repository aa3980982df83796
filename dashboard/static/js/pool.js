// Orders for the pools: the dialogs know the pools and workers of now, and an order is followed until all have answered.

import { ask } from "./ask.js";
import { words } from "./words.js";

const LOOK_MS = 400;

const progress = document.getElementById("order-progress");
const summary = document.getElementById("order-summary");
const list = document.getElementById("order-answers");
let following = 0;

// --- The dialogs

for (const form of document.querySelectorAll("form[data-pool-order]")) {
  form.closest("dialog").addEventListener("toggle", (event) => {
    if (event.newState === "open") freshen(form);
  });
  form.elements.pool.addEventListener("change", () => freshen(form));
  form.addEventListener("done", (event) => follow(event.detail));
}

// Choices as they are now, with what was chosen kept; the bounds are those that the pool has, until somebody types.
async function freshen(form) {
  let told;
  try {
    told = await ask("GET", "/api/pool");
  } catch {
    return; // what the page came with is still good to try with
  }
  const pools = told.pools.map(({ name }) => name);
  if (pools.length === 0) return;
  const known = Object.fromEntries([...form.elements.pool.options].map(({ value, text }) => [value, text]));
  offer(form.elements.pool, pools.map((name) => [name, known[name] ?? name]));
  const pool = told.pools.find(({ name }) => name === form.elements.pool.value);
  offer(form.elements.target, [["*", words("pool.js.everywhere")], ...pool.workers.map(({ worker }) => [worker, worker])]);
  if (form.elements.min_idle && pool.sizes.length > 0) {
    const [least, most] = pool.sizes.at(-1);
    suggest(form.elements.min_idle, least);
    suggest(form.elements.max_size, most);
  }
}

function offer(select, choices) {
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function suggest(input, value) {
  if (input.value === input.defaultValue) input.value = input.defaultValue = String(value);
}

// --- What became of an order

async function follow({ order_id: id, workers, seconds }) {
  const mine = ++following;
  const endsAt = Date.now() + seconds * 1000;
  progress.hidden = false;
  progress.scrollIntoView({ block: "nearest" });
  for (;;) {
    let told;
    try {
      told = await ask("GET", `/api/orders/${encodeURIComponent(id)}`);
    } catch (error) {
      summary.textContent = words("pool.js.unknown", { message: error.message });
      return;
    }
    if (mine !== following) return; // a newer order is shown
    const answers = new Map(told.answers.map((answer) => [answer.worker, answer]));
    const silent = workers.filter((worker) => !answers.has(worker));
    const isOver = silent.length === 0 || Date.now() > endsAt;
    show(workers, answers, silent, isOver);
    if (isOver) return;
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}

function show(workers, answers, silent, isOver) {
  const done = workers.filter((worker) => answers.get(worker)?.is_done).length;
  const numbers = { all: workers.length, done, failed: workers.length - done - silent.length, silent: silent.length };
  const key = !isOver ? "waiting" : done === workers.length ? "done" : "partly";
  summary.textContent = words(`pool.js.${key}`, key === "waiting" ? { ...numbers, done: answers.size } : numbers);
  list.replaceChildren(...workers.map((worker) => line(worker, answers.get(worker), isOver)).filter(Boolean));
}

function line(worker, answer, isOver) {
  if (!answer && !isOver) return null;
  const state = !answer ? "answer_silent" : answer.is_done ? "answer_done" : "answer_failed";
  const item = document.createElement("li");
  item.dataset.state = state;
  const name = document.createElement("bdi");
  name.textContent = worker;
  item.append(name, `: ${words(`pool.js.${state}`)}`, answer?.text ? ` (${answer.text})` : "");
  return item;
}
