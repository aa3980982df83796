// @ts-check
/** Asks our server for a single-use address of the conversation socket. */

import { ConversationError, fromAnswer, unreachable } from "./failure.js";

const TIMEOUT_MILLISECONDS = 10_000;

/**
 * @param {AbortSignal} signal ends the waiting early
 * @returns {Promise<string>} the signed URL, good for one connection within a minute
 * @throws {ConversationError}
 */
export async function requestTicket(signal) {
  const response = await post(signal);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ConversationError(fromAnswer(response.status, body));
  if (typeof body?.signed_url !== "string") throw new ConversationError(fromAnswer(502, body));
  return body.signed_url;
}

/** @param {AbortSignal} signal */
async function post(signal) {
  try {
    return await fetch("chat/tickets", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MILLISECONDS)]),
    });
  } catch {
    throw new ConversationError(unreachable());
  }
}
