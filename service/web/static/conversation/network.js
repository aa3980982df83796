// @ts-check
/** Whether this device has a network at all, as far as the browser knows. */

/**
 * @typedef {object} Network
 * @property {() => boolean} isOnline  false is certain; true only means that there is some network
 * @property {(onChange: () => void) => () => void} listen  returns what ends the listening
 */

/** @type {Network} */
export const browserNetwork = {
  isOnline: () => navigator.onLine !== false,
  listen(onChange) {
    const names = ["online", "offline"];
    for (const name of names) window.addEventListener(name, onChange);
    return () => {
      for (const name of names) window.removeEventListener(name, onChange);
    };
  },
};
