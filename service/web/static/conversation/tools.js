// @ts-check
/** The tools that an agent may call in this page. */

/** @type {Record<string, (parameters: Record<string, unknown>) => string>} */
const TOOLS = { get_local_time: localTime };

/**
 * @param {string} name
 * @param {Record<string, unknown>} parameters
 * @returns {{result: string, isError: boolean}}
 */
export function runTool(name, parameters) {
  if (!Object.hasOwn(TOOLS, name)) return { result: `This page has no tool named ${name}.`, isError: true };
  return { result: TOOLS[name](parameters), isError: false };
}

function localTime() {
  const now = new Date();
  return JSON.stringify({
    local_time: now.toLocaleString("en-GB", { dateStyle: "full", timeStyle: "short" }),
    time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    utc: now.toISOString(),
  });
}
