// @ts-check
/**
 * Why a conversation could not start or go on, in a form that a person can read and report.
 *
 * The key decision: a failure always carries our own reason (a key into the translations), the server's own words if
 * it said any, and an id that the operator can find in the logs.
 */

/**
 * @typedef {"unreachable" | "offline" | "busy" | "refused" | "unavailable" | "maintenance" | "misconfigured" | "quota"
 *   | "silent" | "lost" | "unresumable" | "elsewhere" | "unknown"} Reason
 * @typedef {{reason: Reason, message: string, id: string, transient: boolean}} Failure
 *   `transient`: trying again may help without anybody mending anything
 */

/** Our server's close of a connection whose conversation goes on over another one. */
const RESUMED_ELSEWHERE = 4409;

export class ConversationError extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(`${failure.reason} ${failure.message}`);
    this.failure = failure;
  }
}

/** The request never came through, or nothing came back. @returns {Failure} */
export function unreachable() {
  return { reason: navigator.onLine === false ? "offline" : "unreachable", message: "", id: "", transient: true };
}

/**
 * An HTTP answer that is not a success.
 * @param {number} status
 * @param {any} body the parsed JSON, or null; our servers send {"detail": {"message", "request_id", ...}}
 * @returns {Failure}
 */
export function fromAnswer(status, body) {
  const detail = body && typeof body.detail === "object" && body.detail !== null ? body.detail : {};
  const message = typeof body?.detail === "string" ? body.detail : textOf(detail.message);
  const id = textOf(detail.request_id);
  // Operators have closed the service for some minutes: trying again at once is of no use, and our words say it all.
  if (detail.code === "maintenance") return { reason: "maintenance", message: "", id, transient: false };
  const transient = status >= 500 || status === 429 || status === 408;
  return { reason: reasonOfStatus(status), message, id, transient };
}

/**
 * A socket that closed when nobody asked it to.
 * @param {number} code
 * @param {string} closeReason
 * @param {string} errorMessage of the error event before the close, "" if there was none
 * @param {string} conversationId
 * @returns {Failure}
 */
export function fromClose(code, closeReason, errorMessage, conversationId) {
  if (code === RESUMED_ELSEWHERE) return { reason: "elsewhere", message: "", id: "", transient: false };
  const message = errorMessage || closeReason;
  return { reason: reasonOfClose(code, message), message, id: conversationId, transient: false };
}

/**
 * A lost conversation that the server does not go on with. Its own words speak of tokens: they are for the logs.
 * @param {string} conversationId
 * @returns {Failure}
 */
export function fromRefusedResumption(conversationId) {
  return { reason: "unresumable", message: "", id: conversationId, transient: false };
}

/** @param {number} status @returns {Reason} */
function reasonOfStatus(status) {
  if (status === 429) return "busy";
  if (status === 402) return "quota";
  if (status === 401 || status === 403) return "refused";
  if (status >= 500) return "unavailable";
  return status === 404 ? "misconfigured" : "unknown";
}

/** @param {number} code @param {string} message @returns {Reason} */
function reasonOfClose(code, message) {
  if (/quota/i.test(message)) return "quota";
  if (code === 1013 && /maintenance/i.test(message)) return "maintenance";
  if (code === 3008 || code === 1013) return "busy";
  if (/misconfigured|does not exist/i.test(message)) return "misconfigured";
  if (/authori[sz]e|signature/i.test(message)) return "refused";
  if (code === 1001 || code === 1006 || code === 1012) return "lost";
  return code === 1002 || code === 1011 ? "unavailable" : "unknown";
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === "string" ? value : "";
}
