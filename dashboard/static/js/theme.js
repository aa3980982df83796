// @ts-check
/** Light, dark, or as the system has it. The choice is a cookie: the server writes it into the page's first byte. */

const A_YEAR = 365 * 24 * 3600;

export function startTheme() {
  const choice = /** @type {HTMLSelectElement | null} */ (document.getElementById("theme"));
  choice?.addEventListener("change", () => {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `vocero_theme=${choice.value}; path=/; max-age=${A_YEAR}; samesite=lax${secure}`;
    document.documentElement.dataset.theme = choice.value;
    // Charts are drawn in colours that they were told: let them ask again.
    document.dispatchEvent(new CustomEvent("theme"));
  });
}
